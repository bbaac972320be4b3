"""Waiting for a handler, but no longer than its caller does.

The handler goes on in the task that began it, not in one of its own: what it opened in its first
step (`asyncio.timeout`, a task group) belongs to that task. Knows nothing of gRPC's bytes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from ratelimitd.clock import steady_ns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

T = TypeVar("T")
LONG = 0.025
"""Seconds after which a handler's caller is watched; the shipped Envoy waits four times that."""
CANCELLED_WITHIN = "a handler was cancelled, but neither by its caller nor by the server"
"""What a handler is told of that awaits something cancelled: the call must end with a status."""


class DeadlineError(Exception):
    """Expected: the caller's deadline passed while its handler waited. Nobody need act."""


class GoneError(Exception):
    """Expected: the caller went away while its handler waited. Nobody need act."""


class StoppedError(Exception):
    """Expected: the server stops and its grace is over. Nobody need act; a caller may try again."""


class Patience:
    """The handlers of one application that wait for something.

    Most wait for a millisecond. Whether their callers are still there is asked only for those that
    have waited for `LONG`, all at once: a task and a timer for each call cost more than a decision.
    """

    def __init__(self) -> None:
        self._young: dict[_Waiting, None] = {}
        self._old: set[_Waiting] = set()
        self._look: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """How many handlers wait."""
        return len(self._young) + len(self._old)

    def lose(self) -> None:
        """End all waiting: the server stops."""
        for each in (*self._young, *self._old):
            each.end(StoppedError)

    async def wait(
        self,
        work: Awaitable[T],
        remaining: float | None,
        gone: Callable[[], Coroutine[object, object, None]],
        *,
        at_once: bool = False,
    ) -> T:
        """Await `work`; cancel it once `remaining` seconds have passed, or `gone` has returned.

        `gone` is awaited in a task of its own, which ends with the work: from the beginning if
        `at_once`, else when the work has lasted for `LONG`. Raises `DeadlineError`, `GoneError` or
        `StoppedError` then, and otherwise what the work raises. The server's own cancellation of
        this task passes.
        """
        task = asyncio.current_task()
        assert task is not None
        before = task.cancelling()
        each = _Waiting(task, steady_ns(), remaining, gone)
        if at_once or (remaining is not None and remaining < 2 * LONG):
            self._old.add(each)
            each.watch()
        else:
            self._young[each] = None
            if self._look is None:
                self._look = asyncio.get_running_loop().call_later(LONG, self._look_around)
        try:
            result = await work
        except asyncio.CancelledError as error:
            if task.cancelling() > before + (each.why is not None):
                raise
            if each.why is None:
                raise RuntimeError(CANCELLED_WITHIN) from error
        finally:
            self._young.pop(each, None)
            self._old.discard(each)
            each.close()
        if each.why is not None:
            raise each.why
        return result

    def _look_around(self) -> None:
        """Watch over those that have waited for long; those that came first stand first."""
        self._look = None
        now = steady_ns()
        while self._young:
            each = next(iter(self._young))
            left = LONG - (now - each.since) / 1e9
            if left > 0:
                self._look = asyncio.get_running_loop().call_later(left, self._look_around)
                break
            del self._young[each]
            self._old.add(each)
            each.watch()


class _Waiting:
    """One handler that waits. Cancels its task once, for the first reason that comes."""

    __slots__ = ("_gone", "_remaining", "_task", "_timer", "_watch", "since", "why")

    def __init__(
        self,
        task: asyncio.Task[object],
        since: int,
        remaining: float | None,
        gone: Callable[[], Coroutine[object, object, None]],
    ) -> None:
        self._task = task
        self._remaining = remaining
        self._gone = gone
        self._timer: asyncio.TimerHandle | None = None
        self._watch: asyncio.Task[None] | None = None
        self.since = since
        self.why: type[Exception] | None = None

    def watch(self) -> None:
        """Mind the deadline, and see whether the caller leaves."""
        loop = self._task.get_loop()
        self._watch = loop.create_task(self._gone())
        self._watch.add_done_callback(self._has_gone)
        if self._remaining is not None:
            left = self._remaining - (steady_ns() - self.since) / 1e9
            self._timer = loop.call_later(max(0.0, left), self.end, DeadlineError)

    def end(self, reason: type[Exception]) -> None:
        if self.why is None:
            self.why = reason
            self._task.cancel()

    def _has_gone(self, _: asyncio.Task[None]) -> None:
        self.end(GoneError)

    def close(self) -> None:
        """Take the cancellation back: the task itself goes on."""
        if self.why is not None:
            self._task.uncancel()
        if self._timer is not None:
            self._timer.cancel()
        if self._watch is not None:
            self._watch.remove_done_callback(self._has_gone)
            if not self._watch.cancel() and not self._watch.cancelled():
                self._watch.exception()  # nobody waits for the watch, whatever became of it
