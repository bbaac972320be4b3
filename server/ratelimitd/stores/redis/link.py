"""One connection to one server, kept open: one writer, and a queue of replies in order.

Whoever sends goes on; the reply comes to a callback. A caller that goes away cancels no command and
costs no connection; a reply that comes late is thrown away, and none reaches another command than
its own. Nothing is ever sent twice. Silence is judged here: from the moment that a command was
written or a reply was read, after what has arrived is read, because a slow event loop is no dead
server. How a connection is opened: `connect`.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from ratelimitd.clock import steady_ns
from ratelimitd.errors import (
    StoreError,
    StoreNotAskedError,
    StoreTimeoutError,
    StoreUnavailableError,
)
from ratelimitd.stores.redis.connection import MOST_UNSENT, is_read_only

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from ratelimitd.stores.redis.connection import Connection, Reply

    Connect = Callable[[], Awaitable[Connection]]

OnReply = Callable[[object], None]
"""Takes a reply, or the `StoreError` in its place."""

_LOG = logging.getLogger("ratelimitd.store")

GIVE_UP = 5.0
"""Seconds of silence after which the connection is dropped for another."""
MOST_UNANSWERED = 4096
"""Commands that wait for their replies; more are refused, so that memory is bounded."""
LEAST_PAUSE, MOST_PAUSE = 0.05, 0.5
"""Seconds between two attempts to connect, doubled each time, of which chance takes a part. A
connection that lived for less than the longest pause counts as a failed attempt."""
TURNS = 2
"""Turns of the event loop in which what has arrived reaches us: one to poll, one to hand out."""


class Link:
    """See the module. A link is up, or holds commands during a first attempt, or refuses them."""

    def __init__(
        self,
        connect: Connect,
        *,
        timeout: float,
        give_up: float = GIVE_UP,
        monotonic_ns: Callable[[], int] = steady_ns,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Meet silence of `timeout` seconds; drop a connection after `give_up` seconds of it."""
        self._connect = connect
        self._timeout = int(timeout * 1e9)
        self._give_up = max(int(give_up * 1e9), self._timeout)
        self._now = monotonic_ns
        self._jitter = jitter
        self._connection: Connection | None = None
        self._write: Callable[[bytes], None] | None = None  # None: refuses
        self._full = False
        self._held: list[bytes] = []
        self._waiting: deque[OnReply] = deque()
        self._stale = 0  # replies to come, before those that are waited for, that nobody wants
        self._since = self._heard = self._opened = 0
        self._credited = -1
        self._failures = 0
        self._timer: asyncio.Handle | None = None
        self._task: asyncio.Task[None] | None = None
        self._why = "not connected yet"
        self.on_down: Callable[[StoreError], None] = _ignore
        """Told of every loss, and of every attempt to connect that failed."""
        self.connects = 0
        """Connections made so far."""
        self.late = 0
        """Replies that came when nobody waited for them any more."""

    @property
    def is_up(self) -> bool:
        """Whether there is a connection."""
        return self._connection is not None

    @property
    def unanswered(self) -> int:
        """Commands whose replies are to come."""
        return len(self._waiting) + self._stale

    async def start(self) -> None:
        """Connect. Raises `StoreUnavailableError`; afterwards a lost connection is renewed."""
        try:
            self._adopt(await self._connect())
        except ConnectionError as error:
            raise StoreUnavailableError(f"Redis cannot be used: {error}") from error

    def open(self) -> None:
        """Connect without being waited for; commands are held meanwhile."""
        self._write = self._hold
        self._task = asyncio.get_running_loop().create_task(self._renew())

    def send(self, command: bytes, on_reply: OnReply) -> None:
        """Write a command (RESP); its reply, or a `StoreError`, comes to `on_reply` exactly once.

        From the event loop, in the order of the commands. An error of the server's is a reply.
        `StoreTimeoutError`: it was silent, and may have done it or not; so for
        `StoreUnavailableError`, but for `StoreNotAskedError`: nothing was sent.
        """
        self.send_many(command, 1, on_reply)

    def send_many(self, commands: bytes, count: int, on_reply: OnReply) -> None:
        """Write commands with nothing between them; `on_reply` gets the last one's reply."""
        waiting = self._waiting
        if self._write is None or self._full or len(waiting) + self._stale >= MOST_UNANSWERED:
            self._refuse(on_reply)
            return
        if not waiting:
            # Silence counts from when the bytes leave us, which is at the end of this turn.
            asyncio.get_running_loop().call_soon(self._written)
        for _ in range(count - 1):
            waiting.append(_ignore)
        waiting.append(on_reply)
        self._write(commands)

    async def close(self) -> None:
        """Let go of the connection; what waits fails. Idempotent."""
        self._why = "the store is closed"
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))
        if self._timer is not None:
            self._timer.cancel()
        if self._connection is not None:
            self._connection.drop()
        self._let_go(StoreUnavailableError(self._why))

    def _hold(self, command: bytes) -> None:
        self._held.append(command)
        self._full = sum(map(len, self._held)) > MOST_UNSENT

    def _refuse(self, on_reply: OnReply) -> None:
        why = self._why
        if self._write is not None:
            why = "too many commands wait for Redis"
            if self._stale and self._connection is not None:
                self._connection.drop(f"{why}, which is silent")
        asyncio.get_running_loop().call_soon(on_reply, StoreNotAskedError(why))

    def _written(self) -> None:
        self._since = self._now()
        if not self._stale:
            self._heard = self._since
        if self._timer is None:
            self._look_in(self._timeout)

    def _answered(self, reply: Reply) -> None:
        self._since = self._heard = self._now()
        if self._stale:
            self._stale -= 1
            self.late += 1
        elif self._waiting:
            _call(self._waiting.popleft(), reply)
        else:
            self._drop("it said something that nobody asked for")
        if is_read_only(reply):
            self._drop("it is a replica now, which cannot count")

    def _crowd(self, full: bool) -> None:  # noqa: FBT001 - a callback's one argument
        self._full = full

    def _look_in(self, delay: int) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(delay / 1e9, self._look, self._now() + delay, TURNS)

    def _look(self, due: int, turns: int) -> None:
        """See whether the server is silent; what has arrived is read first."""
        self._timer = None
        now = self._now()
        if self._waiting:
            left = self._since + self._timeout - now
            if left <= 0 and now - due > self._timeout // 4 and self._credited != self._since:
                # We have been kept from running, and so has perhaps the server: once, it gets
                # as long again as we were late.
                self._credited = self._since
                left = min(now - due, self._timeout)
            if left > 0:
                self._look_in(left)
            elif turns:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_soon(self._look, due + self._timeout, turns - 1)
            else:
                self._tell_silence(now)
        elif self._stale:
            self._bear(now)

    def _tell_silence(self, now: int) -> None:
        waiting, self._waiting = self._waiting, deque()
        error: StoreError
        if self._connection is None:
            error = StoreNotAskedError(f"Redis is not connected yet: {self._why}")
            self._write = None
            self._held.clear()
        else:
            error = StoreTimeoutError(f"Redis was silent for {self._timeout / 1e6:g} ms")
            self._stale += len(waiting)
            self._bear(now)
        _call_all(waiting, error)

    def _bear(self, now: int) -> None:
        """Wait on for what was given up, or give up the connection."""
        if now - self._heard < self._give_up:
            self._look_in(self._timeout)
        else:
            self._drop(f"it was silent for {self._give_up / 1e9:g} s")

    def _adopt(self, connection: Connection) -> None:
        """Use a connection from now on. Raises `ConnectionError` if it is lost already."""
        write = connection.hand_over(self._answered, self._lost, self._crowd)
        self._connection, self._write, self._full = connection, write, False
        self._opened = self._since = self._heard = self._now()
        self.connects += 1
        held, self._held = self._held, []
        if held:
            write(b"".join(held))

    def _drop(self, why: str) -> None:
        if self._connection is not None:
            self._connection.drop(why)

    def _lost(self, why: str) -> None:
        """Fail all that was sent; hold what comes during the first attempt to connect again."""
        error = StoreUnavailableError(f"the connection to Redis was lost: {why}")
        self._why = str(error)
        if self._now() - self._opened >= MOST_PAUSE * 1e9:
            self._failures = 0
        waiting = self._waiting
        self._waiting, self._stale, self._connection = deque(), 0, None
        self._full = False
        self._write = None if self._failures else self._hold
        self._task = asyncio.get_running_loop().create_task(self._renew())
        _call_all(waiting, error)
        self.on_down(error)

    async def _renew(self) -> None:
        """Connect, however often it takes."""
        while True:
            if self._failures:
                pause = min(MOST_PAUSE, LEAST_PAUSE * 2 ** min(self._failures - 1, 10))
                await asyncio.sleep(pause * self._jitter())
            self._failures += 1
            try:
                self._adopt(await self._connect())
            except Exception as error:  # noqa: BLE001 - whatever it was, the next may succeed
                self._failed(error)
            else:
                return

    def _failed(self, error: Exception) -> None:
        if str(error) != self._why:
            self._why = str(error)
            _LOG.warning("Redis cannot be used", extra={"why": self._why})
        refusal = StoreNotAskedError(self._why)
        self._let_go(refusal)
        self.on_down(refusal)

    def _let_go(self, error: StoreError) -> None:
        waiting, self._waiting = self._waiting, deque()
        self._connection = self._write = None
        self._full, self._stale = False, 0
        self._held.clear()
        _call_all(waiting, error)


def _call(on_reply: OnReply, reply: object) -> None:
    """Hand out a reply. What is wrong with its taker is not the next one's trouble."""
    try:
        on_reply(reply)
    except Exception:  # noqa: BLE001 - as the event loop does
        _LOG.exception("a reply of Redis's was taken badly")


def _call_all(waiting: deque[OnReply], error: StoreError) -> None:
    for on_reply in waiting:
        _call(on_reply, error)


def _ignore(_: object) -> None:
    """Take no notice."""
