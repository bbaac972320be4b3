"""Connections that a test plays the server of."""

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from ratelimitd.errors import StoreUnavailableError
from ratelimitd.stores.redis.connection import Connection, Reply
from ratelimitd.stores.redis.link import Link

if TYPE_CHECKING:
    from asyncio import Event

PATIENT = 30.0
HASTY = 0.02


class FakeConnection:
    """As much of a `Connection` as a link uses."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.dropped: list[str] = []
        self.reply: Callable[[Reply], None]
        self.lose: Callable[[str], None]
        self.fill: Callable[[bool], None]

    def hand_over(
        self,
        on_reply: Callable[[Reply], None],
        on_lost: Callable[[str], None],
        on_full: Callable[[bool], None],
    ) -> Callable[[bytes], None]:
        """Remember what to call, and what is written."""
        self.reply, self.lose, self.fill = on_reply, on_lost, on_full
        return self.written.append

    def drop(self, why: str = "") -> None:
        """Tell whoever holds it, as the real one does."""
        self.dropped.append(why)
        if why:
            self.lose(why)


class FakeServer:
    """A connector; connects when it is told to, or at once."""

    def __init__(self) -> None:
        self.connections: list[FakeConnection] = []
        self.attempts = 0
        self.most_at_once = 0
        self.refuses = False
        self.gate: Event | None = None
        """If set, an attempt ends when the event does."""
        self._under_way = 0

    async def connect(self) -> Connection:
        """Be a `Connector`."""
        self.attempts += 1
        self._under_way += 1
        self.most_at_once = max(self.most_at_once, self._under_way)
        try:
            if self.gate is not None:
                await self.gate.wait()
            if self.refuses:
                raise StoreUnavailableError("nobody listens")
            self.connections.append(FakeConnection())
            return cast("Connection", self.connections[-1])
        finally:
            self._under_way -= 1

    @property
    def last(self) -> FakeConnection:
        """The latest connection."""
        return self.connections[-1]


async def linked(server: FakeServer, silence: float = PATIENT, give_up: float = 60.0) -> Link:
    """Return a link that is up, and pauses for no time between attempts."""
    link = Link(server.connect, timeout=silence, give_up=give_up, jitter=lambda: 0.0)
    await link.start()
    return link
