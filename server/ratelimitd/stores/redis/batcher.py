"""Decisions that wait in one turn of the event loop, sent as one call of the script.

One batcher per server, or per slot group of a cluster. At most `IN_FLIGHT` batches are on their way
at once: under load a batch holds whatever came while the last ones travelled, so that their size
follows the load. Owns what a batch is on the wire; when a server is given up is the link's to say.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from redis.exceptions import NoScriptError, ResponseError

from ratelimitd.errors import StoreError, StoreNotAskedError, StoreUnavailableError
from ratelimitd.stores.redis.script import bulk
from ratelimitd.stores.redis.wire import BROKEN, STALE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ratelimitd.stores.redis.redis_clock import RedisClock
    from ratelimitd.stores.redis.script import Script
    from ratelimitd.stores.redis.wire import Package

    Send = Callable[[bytes, Callable[[object], None]], None]

IN_FLIGHT = 2
"""Batches on their way at once: one is decided while the next travels."""
MOST_DECISIONS = 128
"""In one batch: bounds how long Redis is busy with it (about 6 µs each, of three limits)."""
MOST_WAITING = 65_536
"""Decisions that wait for a batch; more are refused, so that memory is bounded."""


class Verdict(NamedTuple):
    """What the script said of one decision."""

    now: int
    status: int
    numbers: Sequence[int]


class _Waiting(NamedTuple):
    package: Package
    future: asyncio.Future[Verdict]


class Batcher:
    """Sends decisions to one server."""

    def __init__(
        self, send: Send, script: Script, clock: RedisClock, room: int, *, together: bool
    ) -> None:
        """Send by `send`. `room`: invented counters of a family and window; `together`: a bucket's.

        See `spelling.Layout`.
        """
        self._send_command = send
        self._script = script
        self._clock = clock
        self._scope = bulk(b"%d" % room) + bulk(b"0" if together else b"1")
        self._queue: deque[_Waiting] = deque()
        self._flying = 0
        self._scheduled = False
        self.batches = 0
        self.decisions = 0
        self.reloads = 0

    def submit(self, package: Package) -> asyncio.Future[Verdict]:
        """Decide with the others of this turn. The future may be cancelled; the decision is not."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Verdict] = loop.create_future()
        if len(self._queue) >= MOST_WAITING:
            future.set_exception(StoreNotAskedError("too many calls wait for Redis"))
            return future
        self._queue.append(_Waiting(package, future))
        if not self._scheduled and self._flying < IN_FLIGHT:
            self._scheduled = True
            loop.call_soon(self._flush)
        return future

    def fail(self, error: StoreError) -> None:
        """Give up on all that has not been sent."""
        waiting, self._queue = self._queue, deque()
        _fail_all(waiting, error)

    def _flush(self) -> None:
        self._scheduled = False
        while self._queue and self._flying < IN_FLIGHT:
            count = min(len(self._queue), MOST_DECISIONS)
            # A caller that has gone away before its decision was sent does not want it any more.
            taken = [self._queue.popleft() for _ in range(count)]
            batch = [each for each in taken if not each.future.done()]
            if batch:
                self._send(batch, by_text=False)

    def _send(self, batch: list[_Waiting], *, by_text: bool) -> None:
        floor = self._clock.floor
        packages = [each.package for each in batch]
        keys = sum([package.key_count for package in packages])
        arguments = sum([package.argument_count for package in packages])
        command = b"".join(
            [
                b"*%d\r\n" % (keys + arguments + 6),
                self._script.by_text if by_text else self._script.by_sha,
                bulk(b"%d" % keys),
                *[package.keys for package in packages],
                bulk(b"%d" % floor),
                self._scope,
                *[package.arguments for package in packages],
            ]
        )
        self._flying += 1
        self.batches += 1
        self.decisions += len(batch)
        self._send_command(
            command, lambda reply: self._landed(batch, reply, floor, by_text=by_text)
        )

    def _landed(self, batch: list[_Waiting], reply: object, floor: int, *, by_text: bool) -> None:
        self._flying -= 1
        if isinstance(reply, list):
            try:
                self._clock.observe(reply[0], floor)
                _hand_out(batch, reply)
            except (IndexError, TypeError):  # no answer of the script's: nobody waits for ever
                _fail_all(batch, StoreUnavailableError("Redis answered what was not asked"))
        elif isinstance(reply, NoScriptError) and not by_text:
            self.reloads += 1  # the server has lost the script, so that nothing was done
            self._send(batch, by_text=True)
        else:
            _fail_all(batch, reply if isinstance(reply, StoreError) else _refused(reply))
        if self._queue and not self._scheduled:
            self._flush()


def _hand_out(batch: list[_Waiting], reply: list[int]) -> None:
    now, at = reply[0], 1
    for package, future in batch:
        status = reply[at]
        at += 1
        width = 0 if status in (STALE, BROKEN) else package.width
        numbers = reply[at : at + width]
        at += width
        if future.done():
            continue
        if status == BROKEN:
            future.set_exception(_refused(reply[-1]))
        else:
            future.set_result(Verdict(now, status, numbers))


def _refused(reply: object) -> StoreUnavailableError:
    text = reply.decode(errors="replace") if isinstance(reply, bytes) else str(reply)
    text = " ".join(text.split())  # what a script is refused ends in a line break of its own
    kind = "Redis refused" if isinstance(reply, ResponseError | bytes) else "Redis answered"
    return StoreUnavailableError(f"{kind}: {text[:200]}")


def _fail_all(waiting: Iterable[_Waiting], error: StoreError) -> None:
    for _, future in waiting:
        if not future.done():
            future.set_exception(error)
