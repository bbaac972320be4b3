"""Work beside decisions: in a thread, or in the event loop a little at a time."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

T = TypeVar("T")
AT_ONCE = 25
"""Records and their like, about 0.1 ms each, after which decisions have a turn."""

SWITCH = 0.0002
"""Seconds after which a thread that reads a policy must let decisions go on."""


@contextlib.contextmanager
def unobtrusive() -> Iterator[None]:
    """Let the event loop have the interpreter soon whenever it wants it back from a thread.

    Decisions share the interpreter's lock with whatever a thread computes: by default they get it
    back after 5 ms, or after a whole collection of all that a large policy is made of.
    """
    interval, collecting = sys.getswitchinterval(), gc.isenabled()
    sys.setswitchinterval(SWITCH)
    gc.disable()
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        if collecting:
            gc.enable()


async def by_turns(items: Iterable[T]) -> AsyncIterator[T]:
    """Yield items, and let the event loop turn now and then."""
    for number, item in enumerate(items, 1):
        yield item
        if not number % AT_ONCE:
            await asyncio.sleep(0)
