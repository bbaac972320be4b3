"""Going on with a coroutine that took its first step elsewhere: nothing of it is lost."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from ratelimitd.transports.resume import Resume

if TYPE_CHECKING:
    from collections.abc import Coroutine


def begun(coroutine: Coroutine[Any, Any, Any]) -> Resume:
    """Take a coroutine's first step, and return the rest."""
    return Resume(coroutine, coroutine.send(None))


async def test_the_value_is_returned_after_several_suspensions() -> None:
    """Each await of the coroutine is awaited, in its order."""
    first: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def work() -> list[int]:
        seen = [await first]
        for step in range(3):
            await asyncio.sleep(0)
            seen.append(step)
        return seen

    rest = begun(work())
    first.set_result(7)
    assert await rest == [7, 0, 1, 2]


async def test_an_exception_of_what_is_awaited_reaches_the_coroutine() -> None:
    """It may handle it, and go on."""
    first: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def work() -> str:
        try:
            await first
        except OSError:
            await asyncio.sleep(0)
            return "handled"
        return "unreachable"

    rest = begun(work())
    first.set_exception(OSError())
    assert await rest == "handled"


async def test_an_exception_of_the_coroutine_is_raised() -> None:
    """What it does not handle, or raises by itself, comes out; its cause is kept."""

    async def work() -> None:
        try:
            await asyncio.sleep(0)
            int("no number")
        except ValueError as error:
            raise LookupError from error

    with pytest.raises(LookupError) as caught:
        await begun(work())
    assert isinstance(caught.value.__cause__, ValueError)


async def test_cancellation_reaches_the_coroutine_and_comes_back() -> None:
    """Its clean-up runs, even where it awaits, and the task ends as cancelled."""
    steps: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            steps.append("cleaning")
            await asyncio.sleep(0)
            steps.append("clean")

    async def rest() -> None:
        await begun(work())

    task = asyncio.ensure_future(rest())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps == ["cleaning", "clean"]


async def test_what_swallows_its_cancellation_goes_on() -> None:
    """A coroutine that handles CancelledError keeps its result."""

    async def work() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
        return "done"

    async def rest() -> str:
        result: str = await begun(work())
        return result

    task = asyncio.ensure_future(rest())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "done"


async def test_what_is_dropped_is_closed() -> None:
    """A rest that nobody awaits to its end closes its coroutine, as Python does."""
    steps: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            steps.append("closed")

    waiting = begun(work()).__await__()
    next(waiting)
    waiting.close()
    assert steps == ["closed"]


class Traced(Exception):  # noqa: N818 - no error
    """An exception that is seen going away."""

    alive: ClassVar[weakref.WeakSet[Traced]] = weakref.WeakSet()

    def __init__(self) -> None:
        self.alive.add(self)


async def test_an_exception_leaves_no_cycle() -> None:
    """What was thrown in is forgotten with the call, without the garbage collector."""

    async def work() -> None:
        await asyncio.Event().wait()

    gc.disable()
    try:
        waiting = begun(work()).__await__()
        next(waiting)
        with contextlib.suppress(Traced):
            waiting.throw(Traced())
        assert not Traced.alive
    finally:
        gc.enable()
