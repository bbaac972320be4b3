"""How long calls wait while Redis is away, how much is too much, and how long the script runs.

What is compared takes turns within one run, so that a machine whose speed drifts treats all alike.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import defaultdict
from statistics import median
from typing import TYPE_CHECKING, Final

from ratelimitd.stores.redis import batcher
from ratelimitd.stores.redis.opening import open_redis
from tests.e2e.support.limiter import run_limiter
from tests.e2e.support.redis_calls import (
    LOST,
    Line,
    crowd,
    dial,
    paced,
    percentile,
    question,
)
from tests.e2e.support.redis_fleet import AS_SHIPPED_SILENCE, run_fleet
from tests.e2e.support.redis_outage import MODES
from tests.e2e.support.waiting import wait_until
from tests.soak import report_redis
from tests.support.ops import HOURLY, MINUTELY, MONTHLY, charge, fixed

if TYPE_CHECKING:
    from tests.support.redis.server import Server

ROUNDS: Final = 9
SECONDS: Final = 1.5
PART: Final = 0.3
"""Of what a limiter that counts in memory can do."""
MEMORY: Final = "memory"
WORSE: Final = 5.0
"""Milliseconds."""
KEYS: Final = 50
DECISIONS: Final = batcher.MOST_DECISIONS
BATCHES: Final = 200
LOGGED: Final = 200
"""Microseconds: more than any of the commands takes that the script gives, which are logged too."""
_POLICY: Final = """
domain: test
subject: {{default_tier: t}}
tiers: {{t: {{requests: [1M/366d, 1M/30d, 1M/7d]}}}}
on_store_failure: {mode}
"""


def quiet(rounds: list[float]) -> float:
    """Return the third best of `ROUNDS`: about what one takes when nothing else runs beside it.

    What others do only adds, so that on a shared machine a median is theirs. The price: what the
    limiter itself does in fewer than seven of nine rounds is not seen here, and whoever looks for
    that has all rounds in what is printed. Only what was judged alike may be compared with it.
    """
    assert len(rounds) == ROUNDS
    return sorted(rounds)[2]


def everybody() -> itertools.cycle[bytes]:
    """Return the questions of several callers, for ever."""
    return itertools.cycle([question(f"caller-{number}") for number in range(KEYS)])


async def capacity(lines: list[Line]) -> float:
    """Return the calls a second that are answered when 64 wait at any time."""
    began = time.perf_counter()
    asked = list(itertools.islice(everybody(), 6_000))
    await crowd(lines, 64, asked)
    return len(asked) / (time.perf_counter() - began)


async def test_an_open_breaker_costs_no_time(own_redis: Server) -> None:
    """At 30 % load, p99 is at most that of the memory store and 5 ms, with every policy."""
    async with contextlib.AsyncExitStack() as stack:
        limiters = {
            MEMORY: await stack.enter_async_context(run_limiter(_POLICY.format(mode="local")))
        }
        for mode in MODES:
            running = run_fleet(
                own_redis.url, _POLICY.format(mode=mode), processes=1, silence=AS_SHIPPED_SILENCE
            )
            (limiters[mode],) = await stack.enter_async_context(running)
        lines = {
            name: await stack.enter_async_context(dial(limiter.address))
            for name, limiter in limiters.items()
        }
        for each in lines.values():
            await capacity(each)
        rate = PART * await capacity(lines[MEMORY])
        with own_redis.paused():
            for mode in MODES:

                async def given_up(mode: str = mode) -> bool:
                    await lines[mode][0].ask(question("caller-0"))
                    return (await limiters[mode].figures())["store_breaker_state"] == 1

                await wait_until(given_up, description="the breaker is open")
            p99 = defaultdict(list)
            for _ in range(ROUNDS):
                for name, each in lines.items():
                    answers = await paced(each, rate, SECONDS, everybody())
                    p99[name].append(percentile(answers, 0.99))
    found = {name: quiet(each) for name, each in p99.items()}
    report_redis.others[f"p99 with an open breaker, {rate:,.0f} calls a second (30 % load)"] = (
        ", ".join(f"{name} {each:.2f} ms" for name, each in found.items())
        + f" (third best of {ROUNDS} rounds); asserted: at most memory's and {WORSE:g} ms"
    )
    print({name: [round(part, 1) for part in each] for name, each in p99.items()})
    assert all(found[mode] <= found[MEMORY] + WORSE for mode in MODES), found


async def test_three_times_what_it_can(redis_server: Server) -> None:
    """What is too much is refused or waits its turn, on connections that stay; then all pass again.

    How much still passes, and how long the waits go on, is told and not asserted.
    """
    policy = _POLICY.format(mode="local")
    async with (
        run_fleet(redis_server.url, policy, processes=1, silence=AS_SHIPPED_SILENCE) as (limiter,),
        dial(*[limiter.address] * 4) as lines,
    ):
        await capacity(lines)
        can = await capacity(lines)
        answers = await paced(lines, 3 * can, 10.0, everybody())
        ended = time.perf_counter()
        after = await paced(lines, 0.1 * can, 3.0, everybody())
        alive = limiter.process.returncode is None
    good = [each for each in answers if each.passes]
    refused = [each for each in answers if each.decision is None]
    spent = max(each.answered for each in answers) - answers[0].asked
    slow = [each.answered - ended for each in after if each.seconds > 0.05]
    assert alive
    assert LOST not in {each.status for each in (*answers, *after)}
    assert all(each.passes for each in after)
    report_redis.rows[22] = (
        f"{len(good) / spent / can:.0%} goodput ({len(answers):,} calls, {len(refused):,} refused"
        + (f" within {percentile(refused, 0.99):.0f} ms at p99" if refused else "")
        + f"); no wait over 50 ms after {max(slow, default=0.0):.2f} s"
    )


async def test_the_longest_batch(redis_server: Server) -> None:
    """As many decisions of three limits as go into one, by Redis's own clock."""
    with redis_server.client() as client:
        client.config_set("slowlog-log-slower-than", LOGGED)
        client.config_set("slowlog-max-len", 4 * BATCHES)
        limits = (fixed(10**6, MINUTELY), fixed(10**7, HOURLY), fixed(10**8, MONTHLY))
        calls = [
            tuple(charge(limit, who=f"{number}") for limit in limits) for number in range(DECISIONS)
        ]
        store = open_redis(redis_server.url, 10.0)
        await store.start()
        try:
            for _ in range(BATCHES):
                await asyncio.gather(*(store.take(call) for call in calls))
        finally:
            await store.close()
        log = client.slowlog_get(4 * BATCHES)
        client.config_set("slowlog-log-slower-than", 10_000)
    took = sorted(entry["duration"] for entry in log if entry["command"].startswith(b"EVAL"))
    assert len(took) >= BATCHES
    report_redis.rows[26] = (
        f"{DECISIONS} decisions of three limits: median {median(took):,.0f} µs, p99 "
        f"{took[int(len(took) * 0.99)]:,} µs, longest {took[-1]:,} µs; "
        f"{median(took) / DECISIONS / len(limits):.2f} µs a limit"
    )
    assert median(took) / DECISIONS / len(limits) < 20
