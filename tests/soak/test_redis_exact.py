"""Exact limits and single charges, at the length that `make test` has no time for."""

from __future__ import annotations

import asyncio
import itertools
import time
from statistics import median
from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e.support.redis_calls import crowd, dial, question
from tests.e2e.support.redis_cancels import cancels
from tests.e2e.support.redis_exact import ALGORITHMS, CALLS, LIMIT, exactly, spread
from tests.e2e.support.redis_faults import stage
from tests.e2e.support.redis_fleet import (
    AS_SHIPPED_SILENCE,
    PATIENT,
    counters,
    run_fleet,
    total,
    until_up,
)
from tests.e2e.support.waiting import room_in_window
from tests.soak import report_redis

if TYPE_CHECKING:
    from tests.support.redis.cluster import Cluster
    from tests.support.redis.sentinel import Watched
    from tests.support.redis.server import Server

EXACT: Final = dict.fromkeys(ALGORITHMS, LIMIT)
CANCELLED: Final = 10_000
STALLS: Final = 10
LATE: Final = 0.03
OPEN: Final = """
domain: test
subject: {default_tier: t}
tiers: {t: {requests: 1M/366d}}
on_store_failure: deny
"""
HOURS: Final = 3_600.0
WINDOW: Final = 10
"""Seconds."""
SHORT: Final = OPEN.replace("1M/366d", f"500/{WINDOW}s")


@pytest.mark.parametrize("kind", ["redis_server", "valkey_server", "own_sentinels"])
async def test_a_fleet_is_exact(kind: str, request: pytest.FixtureRequest) -> None:
    """On one server of each kind, and on the primary that Sentinels name."""
    server: Server | Watched = request.getfixturevalue(kind)
    assert await exactly(server.url) == EXACT


async def test_a_fleet_is_exact_in_a_cluster(redis_cluster: Cluster) -> None:
    """Also with calls that span its slots."""
    assert await exactly(redis_cluster.url) == EXACT
    for node in redis_cluster.nodes:
        node.flush()
    seen = await spread(redis_cluster, CALLS)
    assert seen.failures == 0
    assert 0 < seen.passed <= LIMIT
    assert seen.counted_all == seen.passed
    report_redis.rows[9] = (
        f"0, for each of {len(ALGORITHMS)} algorithms on Redis, Valkey, Sentinel and Cluster; "
        f"of calls that span slots {seen.passed:,} passed, and the counters say the same"
    )


async def test_hosts_an_hour_off(redis_server: Server) -> None:
    """One host an hour early and one an hour late: the limit passes in Redis's window."""
    async with run_fleet(redis_server.url, SHORT, processes=2, clocks=(-HOURS, HOURS)) as limiters:
        async with dial(*(limiter.address for limiter in limiters)) as lines:
            end = await room_in_window(WINDOW, WINDOW - 2)
            answers = await crowd(lines, 64, itertools.repeat(question("k"), 4_000))
            assert time.time() < end
        failures = await total(limiters, "store_failures_total")
    passed = sum(answer.passes for answer in answers)
    assert (passed, failures) == (500, 0)
    report_redis.rows[25] = (
        f"{passed - 500} of {len(answers):,} decisions wrong; steps of Redis's own clock are the "
        "simulation's (tests/simulation)"
    )


async def test_cancelled_calls(redis_server: Server) -> None:
    """No wrong answer, no reconnect, and counters that are what was decided."""
    seen = await cancels(redis_server, CANCELLED, seed=1)
    assert (seen.wrong, seen.reconnects, seen.failures) == ([], 0, 0)
    assert seen.counted == seen.decided
    report_redis.rows[14] = (
        f"{len(seen.wrong)} wrong answers, {seen.reconnects} reconnects ({seen.asked:,} calls, "
        f"{seen.cancelled:,} cancelled); counted {seen.counted:,}, decided {seen.decided:,}"
    )


async def test_stalls(redis_server: Server) -> None:
    """Ten of them, at the shipped timeout: nobody is charged twice, by counters of their own."""
    calls = 0
    async with (
        run_fleet(redis_server.url, OPEN, processes=1, silence=AS_SHIPPED_SILENCE) as (limiter,),
        dial(limiter.address) as (line,),
    ):
        for number in range(STALLS):
            await until_up(limiter)
            with redis_server.paused():
                asked = [question(f"{number}-{caller}") for caller in range(20)]
                answers = await crowd([line], 20, asked)
                await asyncio.sleep(0.8)
            calls += len(answers)
        await until_up(limiter)
    most = max(counters(redis_server).values())
    assert most == 1
    report_redis.rows[12] = f"{most} ({calls} calls in {STALLS} stalls, timeout 12 ms)"


async def test_late_replies() -> None:
    """Redis answers 30 ms late, for five seconds: who is charged without an answer is counted."""
    async with (
        stage() as at,
        run_fleet(at.url, OPEN, processes=1, silence=AS_SHIPPED_SILENCE) as (limiter,),
        dial(limiter.address) as (line,),
    ):
        await crowd([line], 1, [question("early")] * 20)
        charged = sum(counters(at.redis).values())
        at.proxy.delay_replies = LATE
        end = time.monotonic() + 5
        answers = []
        while time.monotonic() < end:
            answers += await crowd([line], 4, itertools.repeat(question("late"), 40))
        at.proxy.delay_replies = 0.0
        charged = sum(counters(at.redis).values()) - charged
    passed = sum(answer.passes for answer in answers)
    assert 0 <= charged - passed < len(answers) / 10
    report_redis.rows[13] = (
        f"{charged - passed} of {len(answers):,} (policy deny): the breaker sends nothing while "
        "replies are late"
    )


async def test_a_hot_key(redis_server: Server) -> None:
    """One key is about as fast as a hundred; one that is over its limit hardly asks Redis."""
    async with (
        run_fleet(redis_server.url, OPEN, processes=2, silence=PATIENT) as limiters,
        dial(*(limiter.address for limiter in limiters)) as lines,
    ):
        rates = []
        for keys in (1, 100) * 3:
            asked = [question(f"k{number % keys}") for number in range(8_000)]
            began = time.perf_counter()
            await crowd(lines, 64, asked)
            rates.append(len(asked) / (time.perf_counter() - began))
        await lines[0].ask(question("full", 1_000_000))
        before, began = await total(limiters, "store_batched_total"), time.perf_counter()
        denied = await crowd(lines, 64, itertools.repeat(question("full"), 8_000))
        seconds = time.perf_counter() - began
        sent = await total(limiters, "store_batched_total") - before
    assert not any(answer.passes for answer in denied)
    ratio = median(rates[0::2]) / median(rates[1::2])
    assert ratio > 0.5
    assert sent < len(denied) / 10
    report_redis.rows[23] = (
        f"{ratio:.2f} times the rate; {sent:.0f} of {len(denied):,} denied decisions were asked of "
        f"Redis ({sent / seconds / 2:.0f} a second and process)"
    )
