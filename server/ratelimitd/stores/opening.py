"""A store from its place: the one spot that knows all kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ratelimitd.stores.file import FileCounters
from ratelimitd.stores.memory.counters import MemoryCounters
from ratelimitd.stores.redis.opening import open_redis
from ratelimitd.stores.redis.urls import is_redis

if TYPE_CHECKING:
    from typing import Protocol

    from ratelimitd.clock import Clock
    from ratelimitd.stores.ports import Store

    class Settings(Protocol):
        """As much of a process's settings as this takes."""

        @property
        def store(self) -> str:
            """Return `memory`, `file:PATH`, or a Redis's URL."""
            ...

        @property
        def store_timeout(self) -> float:
            """Return the seconds that a store may be silent."""
            ...


def open_counters(settings: Settings, clock: Clock) -> Store:
    """Return the counters that `--store` names; they open when started. Redis has its own clock."""
    place = settings.store
    if is_redis(place):
        return open_redis(place, settings.store_timeout)
    if place.startswith("file:"):
        return FileCounters(place.removeprefix("file:"), clock)
    return MemoryCounters(clock)
