"""Waiting for a handler, but no longer than its caller does.

The handler goes on in the task that began it, not in one of its own: what it opened in its first
step (`asyncio.timeout`, a task group) belongs to that task. Knows nothing of gRPC's bytes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable

T = TypeVar("T")
CANCELLED_WITHIN = "a handler was cancelled, but neither by its caller nor by the server"
"""What a handler is told of that awaits something cancelled: the call must end with a status."""


class DeadlineError(Exception):
    """Expected: the caller's deadline passed while its handler waited. Nobody need act."""


class GoneError(Exception):
    """Expected: the caller went away while its handler waited. Nobody need act."""


class StoppedError(Exception):
    """Expected: the server stops and its grace is over. Nobody need act; a caller may try again."""


class Patience:
    """The handlers of one application that wait for something."""

    def __init__(self) -> None:
        self._enders: set[_Ender] = set()

    def lose(self) -> None:
        """End all waiting: the server stops."""
        for ender in tuple(self._enders):
            ender.end(StoppedError)

    async def wait(
        self, work: Awaitable[T], remaining: float | None, gone: asyncio.Task[None]
    ) -> T:
        """Await `work`; cancel it once `remaining` seconds have passed, or `gone` has ended.

        Raises `DeadlineError`, `GoneError` or `StoppedError` then, and otherwise what the work
        raises; `gone` is cancelled in the end. The server's own cancellation of this task passes.
        """
        task = asyncio.current_task()
        assert task is not None
        before = task.cancelling()
        ender = _Ender(task)
        self._enders.add(ender)
        gone.add_done_callback(ender.gone)
        loop = asyncio.get_running_loop()
        timer = None if remaining is None else loop.call_later(remaining, ender.end, DeadlineError)
        try:
            result = await work
        except asyncio.CancelledError as error:
            if task.cancelling() > before + (ender.why is not None):
                raise
            if ender.why is None:
                raise RuntimeError(CANCELLED_WITHIN) from error
        finally:
            self._enders.discard(ender)
            ender.close()
            if timer is not None:
                timer.cancel()
            gone.remove_done_callback(ender.gone)
            _drop(gone)
        if ender.why is not None:
            raise ender.why
        return result


class _Ender:
    """Cancels a task once, for the first reason that comes."""

    __slots__ = ("_task", "why")

    def __init__(self, task: asyncio.Task[object]) -> None:
        self._task = task
        self.why: type[Exception] | None = None

    def end(self, reason: type[Exception]) -> None:
        if self.why is None:
            self.why = reason
            self._task.cancel()

    def gone(self, _: asyncio.Task[None]) -> None:
        self.end(GoneError)

    def close(self) -> None:
        """Take the cancellation back: the task itself goes on."""
        if self.why is not None:
            self._task.uncancel()


def _drop(watch: asyncio.Task[None]) -> None:
    """End a watch that nobody waits for, whatever became of it."""
    if not watch.cancel() and not watch.cancelled():
        watch.exception()
