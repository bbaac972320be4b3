"""A registry of keys, or an outbox, from its place: the one spot that knows all kinds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ratelimitd.accounts.file_records import FileRecords
from ratelimitd.accounts.memory_records import MemoryRecords
from ratelimitd.accounts.redis_outbox import RedisOutbox
from ratelimitd.accounts.redis_records import SILENCE, RedisRecords
from ratelimitd.accounts.sqlite_outbox import SqliteOutbox
from ratelimitd.stores.redis.opening import servers_of
from ratelimitd.stores.redis.urls import is_redis

if TYPE_CHECKING:
    from ratelimitd.accounts.outbox import Outbox
    from ratelimitd.accounts.records import Records


def open_records(place: str) -> Records:
    """Return the registry of keys that `--registry` names; it opens when started."""
    if is_redis(place):
        return RedisRecords(servers_of(place, SILENCE))
    if place.startswith("file:"):
        return FileRecords(Path(place.removeprefix("file:")))
    return MemoryRecords()


def open_outbox(place: str) -> Outbox:
    """Return the outbox of alerts that belongs to a registry's place; it opens when started."""
    if is_redis(place):
        return RedisOutbox(servers_of(place, SILENCE))
    if place.startswith("file:"):
        return SqliteOutbox(place.removeprefix("file:").removesuffix(".keys") + ".alerts")
    return SqliteOutbox()
