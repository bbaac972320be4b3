"""The stores that the contract is held to. A new store in the process is one line in `STORES`.

A store is opened on a clock that the test moves, with room for so many invented counters.
"""

from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from ratelimitd.clock import Clock
from ratelimitd.stores.file import FileCounters
from ratelimitd.stores.memory.counters import MemoryCounters
from ratelimitd.stores.ports import Store
from ratelimitd.stores.redis.counters import RedisCounters
from ratelimitd.stores.redis.opening import servers_of
from ratelimitd.stores.redis.redis_clock import RedisClock
from ratelimitd.stores.redis.script import Script

Opener = Callable[[Clock, int, Path], Awaitable[Store]]
T = TypeVar("T")
PATIENT = 10.0
"""Seconds that a busy machine's Redis may be silent before a test fails."""


async def _memory(clock: Clock, room: int, _: Path) -> Store:
    return MemoryCounters(clock, room)


async def _file(clock: Clock, room: int, folder: Path) -> Store:
    store = FileCounters(folder / "counts.db", clock, room)
    await store.start()
    return store


STORES: dict[str, Opener] = {
    "memory": _memory,
    "file": _file,
}
"""Name and opener of each store; the path is a directory of the test's own."""


class GivenClock(RedisClock):
    """A clock that the test moves, in the place of what is known of Redis's."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(lambda: 0)
        self._clock = clock

    def __call__(self) -> int:
        """Return the test's instant."""
        return self._clock()

    @property
    def floor(self) -> int:
        """Return the test's instant, which is all that the script is told."""
        return self._clock()

    def observe(self, instant: int, floor: int = 0) -> None:
        """Learn nothing: the test knows the time."""


GIVEN_TIME = """
now = tonumber(ARGV[1])
EXPIRE, PX, origin = 'PEXPIRE', 'PX', now
room = tonumber(ARGV[2])
shared_room = ARGV[3] == '1'
"""
"""The script's part `clock`, with the caller's floor in the place of Redis's TIME. Keys end after
as long as it says, and not at an instant that for Redis is long ago."""


def redis_opener(url: str, **options: Any) -> Opener:  # noqa: ANN401 - RedisCounters' own
    """Return what opens stores on a server, at the test's time; it forgets what was before."""

    async def opener(clock: Clock, room: int, _: Path) -> Store:
        script = Script.load(clock=GIVEN_TIME)
        servers = servers_of(url, PATIENT)
        store = RedisCounters(servers, room=room, clock=GivenClock(clock), script=script, **options)
        await store.start()
        return store

    return opener


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
