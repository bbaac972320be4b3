"""One connection to one server, kept open: one writer, and a queue of replies in order.

Whoever sends goes on; the reply comes to a callback. A caller that goes away cancels no command and
costs no connection, and no reply can reach another than it belongs to. Silence is judged here:
from the moment a command was written or the last reply was read, after what has already arrived is
read, because a slow event loop is not a dead server. Nothing is ever sent twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from typing import TYPE_CHECKING, Protocol

from redis.exceptions import ReadOnlyError

from ratelimitd.clock import steady_ns
from ratelimitd.errors import StoreTimeoutError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ratelimitd.stores.redis.connect import Connector
    from ratelimitd.stores.redis.connection import Connection, Reply

    OnReply = Callable[[object], None]

GIVE_UP = 5.0
"""Seconds of silence after which the connection is dropped for another."""
MOST_UNANSWERED = 4096
"""Commands that wait for their replies; more are refused, so that memory is bounded."""
LEAST_PAUSE, MOST_PAUSE = 0.05, 1.0
"""Seconds between two attempts to connect; each is off by up to all of it."""
TURNS = 3
"""Turns of the event loop in which what has arrived reaches us: polled, read, handed out."""


class Servers(Protocol):
    """One server or several, alike to who sends."""

    are_several: bool
    """Whether keys are spread, so that a command must be about one slot."""

    async def start(self) -> None:
        """Connect. Raises `StoreUnavailableError`."""
        ...

    def send(self, slot: int, command: bytes, on_reply: OnReply) -> None:
        """Send to the server of a slot; see `Link.send`."""
        ...

    def name_of(self, slot: int) -> str:
        """Return which server has a slot now, for its breaker and its log lines."""
        ...

    async def close(self) -> None:
        """Let go of all connections."""
        ...


class Single:
    """One server, or the primary of a Sentinel's service."""

    are_several = False

    def __init__(self, link: Link, name: str) -> None:
        self._link = link
        self._name = name

    async def start(self) -> None:
        """See `Servers.start`."""
        await self._link.start()

    def send(self, slot: int, command: bytes, on_reply: OnReply) -> None:
        """See `Servers.send`."""
        del slot
        self._link.send(command, on_reply)

    def name_of(self, slot: int) -> str:
        """See `Servers.name_of`."""
        del slot
        return self._name

    async def close(self) -> None:
        """See `Servers.close`."""
        await self._link.close()


class _Sent:
    """A command on its way."""

    __slots__ = ("at_ns", "command", "on_reply")

    def __init__(self, command: bytes, on_reply: OnReply, at_ns: int) -> None:
        self.command = command
        self.on_reply: OnReply | None = on_reply  # None: told that it took too long
        self.at_ns = at_ns


class Link:
    """See the module. `timeout`: seconds of silence that a command may meet."""

    def __init__(self, connector: Connector, *, timeout: float, give_up: float = GIVE_UP) -> None:
        self._connector = connector
        self._timeout_ns = int(timeout * 1e9)
        self._give_up_ns = int(give_up * 1e9)
        self._connection: Connection | None = None
        self._write: Callable[[bytes], None] | None = None
        self._lost: asyncio.Future[None]
        self._full = False
        self._sent: deque[_Sent] = deque()
        self._held: deque[_Sent] = deque()  # while the first attempt after a loss is under way
        self._holding = False
        self._read_ns = 0
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._why = StoreUnavailableError("not connected to Redis yet")
        self.connects = 0
        """Connections made so far."""

    @property
    def is_up(self) -> bool:
        """Whether there is a connection."""
        return self._write is not None

    async def start(self) -> None:
        """Connect. Raises `StoreUnavailableError`; afterwards a lost connection is renewed."""
        self._adopt(await self._connector())
        self._task = asyncio.create_task(self._live())

    def _adopt(self, connection: Connection) -> None:
        """Use a connection from now on. Raises `ConnectionError` if it is lost already."""
        self._lost = asyncio.get_running_loop().create_future()
        self._write = connection.hand_over(self._answered, self._lose, self._crowd)
        self._connection = connection
        self.connects += 1

    def _crowd(self, full: bool) -> None:  # noqa: FBT001 - a callback's one argument
        self._full = full

    def send(self, command: bytes, on_reply: OnReply) -> None:
        """Write a command (RESP); its reply, or a `StoreError`, comes to `on_reply` exactly once.

        Replies come in the order of the commands. Never blocks. An error of the server's is a
        reply; `StoreTimeoutError`: it was silent, and may have done it or not.
        """
        loop = asyncio.get_running_loop()
        sent = _Sent(command, on_reply, steady_ns())
        waiting = self._sent if self._write is not None else self._held
        if self._full or len(waiting) >= MOST_UNANSWERED:
            error = StoreUnavailableError("too many commands wait for Redis")
            loop.call_soon(on_reply, error)
        elif self._write is not None:
            self._write(command)
            self._sent.append(sent)
            self._watch()
        elif self._holding:
            self._held.append(sent)
            self._watch()
        else:
            loop.call_soon(on_reply, self._why)

    def _watch(self, delay_ns: int | None = None) -> None:
        if self._timer is None:
            delay = (self._timeout_ns if delay_ns is None else delay_ns) / 1e9
            self._timer = asyncio.get_running_loop().call_later(delay, self._look, TURNS)

    def _look(self, turns: int) -> None:
        """See whether the server is silent; what has arrived is read first."""
        oldest = next((each for each in self._sent if each.on_reply), None)
        oldest = oldest or (self._held[0] if self._held else None)
        self._timer = None
        if not self._sent and oldest is None:
            return
        now = steady_ns()
        since = max(oldest.at_ns if oldest else self._sent[0].at_ns, self._read_ns)
        left = since + self._timeout_ns - now
        if oldest is not None and left > 0:
            self._watch(left)
        elif oldest is not None and turns:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(0, self._look, turns - 1)
        else:
            self._tell_silence()
            if self._sent and now - max(self._sent[0].at_ns, self._read_ns) > self._give_up_ns:
                self._drop(f"it was silent for {self._give_up_ns / 1e9:g} s")
            elif self._sent:
                self._watch()

    def _tell_silence(self) -> None:
        error = StoreTimeoutError("Redis did not answer in time")
        for each in self._sent:
            on_reply, each.on_reply = each.on_reply, None
            if on_reply:
                on_reply(error)
        held, self._held = self._held, deque()
        for each in held:
            if each.on_reply:
                each.on_reply(self._why)

    async def _live(self) -> None:
        """Renew the connection whenever it is lost, for ever."""
        while True:
            await asyncio.shield(self._lost)
            await self._renew()

    def _answered(self, reply: Reply) -> None:
        self._read_ns = steady_ns()
        if not self._sent:
            self._drop("it said something that nobody asked for")
            return
        on_reply = self._sent.popleft().on_reply
        if on_reply:
            on_reply(reply)
        if isinstance(reply, ReadOnlyError):
            self._drop("it is a replica now, which cannot count")

    def _drop(self, why: str) -> None:
        if self._connection is not None:
            self._connection.drop(why)

    def _lose(self, why: str) -> None:
        """Fail all that was sent; hold what comes during the first attempt to connect again."""
        self._why = StoreUnavailableError(f"the connection to Redis was lost: {why}")
        self._connection = self._write = None
        self._full, self._holding = False, True
        lost, self._sent = self._sent, deque()
        for each in lost:
            if each.on_reply:
                each.on_reply(self._why)
        if not self._lost.done():
            self._lost.set_result(None)

    async def _renew(self) -> None:
        pause = LEAST_PAUSE
        while True:
            try:
                self._adopt(await self._connector())
            except (StoreUnavailableError, ConnectionError) as error:
                self._why = StoreUnavailableError(str(error))
                self._refuse_held()
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - jitter
                pause = min(2 * pause, MOST_PAUSE)
            else:
                break
        self._holding = False
        held, self._held = self._held, deque()
        for each in held:
            if each.on_reply:
                self.send(each.command, each.on_reply)

    def _refuse_held(self) -> None:
        self._holding = False
        held, self._held = self._held, deque()
        for each in held:
            if each.on_reply:
                each.on_reply(self._why)

    async def close(self) -> None:
        """Let go of the connection; what waits fails. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._timer is not None:
            self._timer.cancel()
        if self._connection is not None:
            self._connection.drop()
            self._lose("the store is closed")
        self._refuse_held()
