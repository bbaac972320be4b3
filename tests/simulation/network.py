"""Connections to fake servers: bytes that travel, are late, or are lost. The link is real."""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import cast

from ratelimitd.errors import StoreUnavailableError
from ratelimitd.stores.redis.connection import Connection
from ratelimitd.stores.redis.link import Link
from tests.simulation.server import FakeServer, commands


class Host:
    """A server and the way there."""

    def __init__(self, server: FakeServer, rng: random.Random) -> None:
        self.server = server
        self.wires: list[Wire] = []
        self.refuses = False
        """Whether nobody can connect."""
        self.paused_until = 0.0
        """Nothing is done before (SIGSTOP)."""
        self.slow = 0.0
        """Seconds that each reply is late beyond the usual."""
        self._rng = rng

    def delay(self) -> float:
        """Return how long one way takes."""
        return self._rng.uniform(0.0001, 0.002)

    def delivers(self) -> bool:
        """Say whether what a cut connection had sent has come through."""
        return self._rng.random() < 0.5

    def cut(self) -> None:
        """End every connection; what is on its way may have arrived or not."""
        for wire in list(self.wires):
            wire.drop("reset by peer")

    def silence(self) -> None:
        """Lose every reply from now on, on the connections that there are."""
        for wire in self.wires:
            wire.deaf = True

    def hang_up(self) -> None:
        """End the connections on which replies get lost: an idle client may never notice."""
        for wire in [each for each in self.wires if each.deaf]:
            wire.drop("reset by peer")

    async def connect(self) -> Connection:
        """Be a `Connector`."""
        await asyncio.sleep(2 * self.delay())
        if self.refuses:
            raise StoreUnavailableError("nobody listens")
        wire = Wire(self)
        self.wires.append(wire)
        return cast("Connection", wire)


class Wire:
    """One connection: what a link uses of `connection.Connection`."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._loop = asyncio.get_running_loop()
        self._on_reply: Callable[[object], None] | None = None
        self._on_lost: Callable[[str], None] | None = None
        self._last_there = self._last_back = 0.0
        self._going: deque[list[bytes]] = deque()
        self._coming: deque[object] = deque()
        self._gone = False
        self.deaf = False
        """Whether replies get lost."""

    def hand_over(
        self,
        on_reply: Callable[[object], None],
        on_lost: Callable[[str], None],
        _: Callable[[bool], None],
    ) -> Callable[[bytes], None]:
        """See `Connection.hand_over`."""
        if self._gone:
            raise ConnectionError("it closed the connection")
        self._on_reply, self._on_lost = on_reply, on_lost
        return self._write

    def _write(self, data: bytes) -> None:
        """Send commands on their way, after those before it."""
        self._last_there = max(self._last_there, self._loop.time() + self._host.delay())
        for words in commands(data):
            self._going.append(words)
            self._loop.call_at(self._last_there, self._arrive)

    def _arrive(self) -> None:
        if self._loop.time() < self._host.paused_until:
            self._loop.call_at(self._host.paused_until, self._arrive)
            return
        words = self._going.popleft()
        if not self._gone or self._host.delivers():
            self._coming.append(self._host.server.answer(words))
            late = self._loop.time() + self._host.delay() + self._host.slow
            self._last_back = max(self._last_back, late)
            self._loop.call_at(self._last_back, self._return)

    def _return(self) -> None:
        reply = self._coming.popleft()
        if not self.deaf and not self._gone and self._on_reply is not None:
            self._on_reply(reply)

    def drop(self, why: str = "") -> None:
        """See `Connection.drop`."""
        if self._gone:
            return
        self._gone = True
        self._host.wires.remove(self)
        if why and self._on_lost is not None:
            self._on_lost(why)


class FakeServers:
    """`link.Servers` over real links to fake hosts: slots go round them."""

    def __init__(self, links: list[Link], hosts: list[Host]) -> None:
        self._links = links
        self._hosts = hosts
        self.are_several = len(links) > 1
        self.nodes = tuple(links)

    async def start(self) -> None:
        """Connect to all."""
        for link in self._links:
            await link.start()

    def send(self, slot: int, command: bytes, on_reply: Callable[[object], None]) -> None:
        """Send to the server of a slot."""
        self._links[slot % len(self._links)].send(command, on_reply)

    def name_of(self, slot: int) -> str:
        """Return the server of a slot."""
        return self._hosts[slot % len(self._hosts)].server.name

    async def close(self) -> None:
        """Let go."""
        for link in self._links:
            await link.close()
