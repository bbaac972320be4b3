"""The stores that the contract is held to. A new store is one line in `STORES`.

A store is opened on a clock that the test moves, with room for so many invented counters.
"""

from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from ratelimitd.clock import Clock
from ratelimitd.stores.file import FileCounters
from ratelimitd.stores.memory.counters import MemoryCounters
from ratelimitd.stores.ports import Counters

Opener = Callable[[Clock, int, Path], Awaitable[Counters]]
T = TypeVar("T")


async def _memory(clock: Clock, room: int, _: Path) -> Counters:
    return MemoryCounters(clock, room)


async def _file(clock: Clock, room: int, folder: Path) -> Counters:
    store = FileCounters(folder / "counts.db", clock, room)
    await store.start()
    return store


STORES: dict[str, Opener] = {
    "memory": _memory,
    "file": _file,
}
"""Name and opener of each store; the path is a directory of the test's own."""


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """Run what never waits, without a loop: the memory store decides between two awaits."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    work.close()
    msg = "the memory store waited for something"
    raise AssertionError(msg)
