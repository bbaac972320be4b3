"""A change of a key is in force in another process within a second, under load, every time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.e2e.support.limiter import AS_SHIPPED
from tests.e2e.support.registry_changes import measure

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.redis.server import Server

KEYS: Final = 25
"""Each is changed in four ways."""
CALLS: Final = 1_000
PROMISED: Final = 1.0
"""Seconds."""
SELDOM: Final = f"from ratelimitd.accounts import known; known.EVERY = 1.5; {AS_SHIPPED}"


async def test_changes_in_redis(redis_server: Server) -> None:
    """Two processes that count and keep keys in one Redis."""
    seen = await measure(redis_server.url, KEYS, store=redis_server.url)
    seen.assert_in_force(PROMISED, CALLS)


async def test_changes_in_a_file(tmp_path: Path) -> None:
    """Two processes that share a file of keys."""
    seen = await measure(f"file:{tmp_path / 'keys'}", KEYS)
    seen.assert_in_force(PROMISED, CALLS)


async def test_a_feed_that_is_read_too_seldom_is_found(redis_server: Server) -> None:
    """The twin."""
    seen = await measure(redis_server.url, 1, store=redis_server.url, program=SELDOM)
    assert seen.every[-1] > PROMISED
