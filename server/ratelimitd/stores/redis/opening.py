"""A Redis store from its URL: the one place that puts the parts together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ratelimitd.stores.memory.counters import DEFAULT_ROOM
from ratelimitd.stores.redis.cluster import Cluster
from ratelimitd.stores.redis.connect import BySentinel, Direct
from ratelimitd.stores.redis.counters import RedisCounters
from ratelimitd.stores.redis.link import Link
from ratelimitd.stores.redis.servers import Single
from ratelimitd.stores.redis.urls import parse

if TYPE_CHECKING:
    from ratelimitd.stores.redis.servers import Servers

SENTINEL_GIVE_UP = 1.0
"""Seconds of a primary's silence after which Sentinels are asked for the primary again."""


def servers_of(url: str, timeout: float) -> Servers:
    """Return what `--store` names, not connected yet. Raises `SettingsError`.

    `timeout`: seconds that a server may be silent (`--store-timeout`).
    """
    target = parse(url)
    if target.kind == "cluster":
        return Cluster(target, timeout=timeout)
    if target.kind == "sentinel":
        primary = BySentinel(target)
        # A silent primary is one that Sentinels may have replaced: they are asked soon.
        return Single(Link(primary, timeout=timeout, give_up=SENTINEL_GIVE_UP), primary.name)
    server = Direct(target)
    return Single(Link(server, timeout=timeout), server.name)


def open_redis(url: str, timeout: float, *, room: int = DEFAULT_ROOM) -> RedisCounters:
    """Return the counters that `--store` names; they connect when started."""
    return RedisCounters(servers_of(url, timeout), room=room)
