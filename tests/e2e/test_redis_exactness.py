"""Several limiters, one Redis: what passes is what the limit says, whoever is asked and when.

Each limiter is a process of its own; tests/soak has every algorithm on every kind of store.
"""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Final

from tests.e2e.support import redis_exact
from tests.e2e.support.redis_calls import crowd, dial, question
from tests.e2e.support.redis_exact import ALGORITHMS, LIMIT, exactly, spread
from tests.e2e.support.redis_fleet import run_fleet, total
from tests.e2e.support.waiting import room_in_window, wait_for_instant

if TYPE_CHECKING:
    from tests.support.redis.cluster import Cluster
    from tests.support.redis.sentinel import Watched
    from tests.support.redis.server import Server

FEWER: Final = 4_000
"""Calls where all 20,000 are left to tests/soak."""
EXACT: Final = dict.fromkeys(ALGORITHMS, LIMIT)
WINDOW: Final = 5
"""Seconds: half of what the hosts' clocks are apart."""
SHORT: Final = f"""
domain: test
subject: {{default_tier: t}}
tiers: {{t: {{requests: 500/{WINDOW}s}}}}
"""


async def test_four_processes_let_exactly_the_limit_pass(redis_server: Server) -> None:
    """Of 20,000 calls of 256 callers for one key 1,000 pass, and Redis decided them all."""
    assert await exactly(redis_server.url) == EXACT


async def test_so_they_do_with_sentinels(own_sentinels: Watched) -> None:
    """The primary that Sentinels name is a Redis like any other."""
    assert await exactly(own_sentinels.url, FEWER) == EXACT


async def test_so_they_do_in_a_cluster(redis_cluster: Cluster) -> None:
    """A key's counter has one place there."""
    assert await exactly(redis_cluster.url, FEWER) == EXACT


async def test_the_hosts_clocks_change_no_decision(redis_server: Server) -> None:
    """Two hosts ten seconds apart, windows of five: by their clocks no two share a window.

    In each of two windows of Redis's the limit passes, exactly. The hosts' clocks are set in the
    processes (see `redis_fleet.host`), by five seconds in either direction.
    """
    async with run_fleet(redis_server.url, SHORT, processes=2, clocks=(-5.0, 5.0)) as limiters:
        async with dial(*(limiter.address for limiter in limiters)) as lines:
            for _ in range(2):
                end = await room_in_window(WINDOW, 3.5)
                answers = await crowd(lines, 64, itertools.repeat(question("k"), 2_000))
                assert time.time() < end, "too slow a machine for a window of five seconds"
                assert sum(answer.passes for answer in answers) == 500
                await wait_for_instant(end)
        assert await total(limiters, "store_failures_total") == 0


async def test_calls_that_span_slots_never_pass_the_limit(redis_cluster: Cluster) -> None:
    """Callers of their own limits share one, in other slots: nobody passes either.

    Once what had been charged in vain is given back, the counters are what was let pass.
    """
    seen = await spread(redis_cluster, FEWER)
    assert seen.failures == 0
    assert 0 < seen.passed <= LIMIT
    assert max(seen.each.values()) <= redis_exact.SHARE
    assert seen.counted_all == seen.passed
    assert sorted(seen.counted_each) == sorted(each for each in seen.each.values() if each)
