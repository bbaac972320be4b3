"""What a process holds: tasks, file descriptors. And waiting for it to let go of them."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_PATIENCE = 20.0
"""Seconds, for a machine on which much else runs."""
_STEP = 0.005


def tasks() -> set[asyncio.Task[object]]:
    """Return the unfinished tasks of this loop, without the one that asks."""
    return asyncio.all_tasks() - {asyncio.current_task()}


def descriptors() -> int:
    """Return how many file descriptors this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir()) - 1


async def until(holds: Callable[[], object | Awaitable[object]], description: str) -> None:
    """Wait for what another thread or the network brings about; fails when it never comes."""
    loop = asyncio.get_running_loop()
    end = loop.time() + _PATIENCE
    while not (await held if inspect.isawaitable(held := holds()) else held):
        assert loop.time() < end, f"in vain: {description}"
        await asyncio.sleep(_STEP)
