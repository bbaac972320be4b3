"""Waiting for what will be so, and for a place in a window: the only sleeps of these tests."""

from __future__ import annotations

import asyncio
import inspect
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

POLL: Final = 0.01


async def wait_until(
    predicate: Callable[[], bool | Awaitable[bool]], *, description: str, within: float = 10.0
) -> None:
    """Return once `predicate` holds; fail with `description` when it does not in time."""
    deadline = time.monotonic() + within
    while True:
        held = predicate()
        if await held if inspect.isawaitable(held) else held:
            return
        assert time.monotonic() < deadline, f"not within {within:g} s: {description}"
        await asyncio.sleep(POLL)


async def wait_for_instant(instant: float) -> None:
    """Return at a Unix time, or at once when it is past."""
    ahead = max(0.0, instant - time.time())
    await wait_until(
        lambda: time.time() >= instant, description=f"the time {instant}", within=ahead + 1
    )


async def room_in_window(window: float, wanted: float) -> float:
    """Wait for the next window unless `wanted` seconds are left of this one; return the end.

    Windows start at multiples of their length (`window` seconds) in Unix time, as the limiter's do.
    """
    now = time.time()
    end = now - now % window + window
    if end - now >= wanted:
        return end
    await wait_for_instant(end)
    return end + window
