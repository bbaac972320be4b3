"""A million registered keys in Redis: what a decision costs, what a process takes, and pages."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

from ratelimitd.accounts.known import KEPT
from ratelimitd.accounts.record import Record
from ratelimitd.accounts.redis_records import RedisRecords
from ratelimitd.keys import DEVELOPMENT_SECRET, Hasher
from ratelimitd.stores.redis.opening import servers_of
from tests.e2e.support.limiter import Limiter, ratelimitd, run_limiter
from tests.e2e.support.redis_calls import crowd, dial, paced, percentile, question
from tests.e2e.support.redis_fleet import PATIENT
from tests.robustness.support.watched import cpu, memory
from tests.support.redis.server import single
from tests.support.stores import PATIENT as LONG

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tests.e2e.support.redis_calls import Line

MANY: Final = 1_000_000
FEW: Final = 1_000
LISTED: Final = 100_000
RARE: Final = 10_000
"""One key in so many has the tier that few have."""
CALLS: Final = 20_000
ROUNDS: Final = 7
CALLERS: Final = 50
PACE: Final = 500.0
"""Calls a second at which waits are the limiter's, and not the crowd's."""
AT_ONCE: Final = 50_000
COSTLIER: Final = 1.25
"""What the machine makes of two processes that do the same; 1.0 to 1.1 was seen."""
MOST: Final = 400 << 10
"""KiB: what a process takes whose caches are full, and some more."""
SLACK: Final = 16 << 10
"""KiB that a full process may still grow by."""
POLICY: Final = """
domain: test
subject: {default_tier: deny}
tiers: {free: {requests: [1M/hour, 10M/day]}, rare: {requests: [2M/hour, 20M/day]}}
"""
"""Who is not registered may not call: no key goes by unseen."""


async def fill(url: str, count: int) -> None:
    """Register keys `k-0`, `k-1` and so on, by the port that limiters use."""
    hasher = Hasher(DEVELOPMENT_SECRET)
    records = RedisRecords(servers_of(url, LONG))
    await records.start()
    for first in range(0, count, AT_ONCE):
        tiers = {
            n: "free" if n % RARE else "rare" for n in range(first, min(first + AT_ONCE, count))
        }
        made = [Record(subject=hasher.key(f"k-{n}"), tier=tier) for n, tier in tiers.items()]
        await records.put(made)
    await records.close()


@contextlib.asynccontextmanager
async def limiter_of(count: int) -> AsyncIterator[tuple[Limiter, list[Line]]]:
    """Run a limiter with so many keys, in a Redis of its own, and connect to it."""
    with single("redis") as server:
        began = time.perf_counter()
        await fill(server.url, count)
        with server.client() as client:
            used = client.info("memory")["used_memory"] / 1e6
        print(
            f"{count:,} keys: {time.perf_counter() - began:.0f} s to fill, {used:.0f} MB of Redis"
        )
        flags = ("--store-timeout", PATIENT)
        async with (
            run_limiter(POLICY, store=server.url, flags=flags) as limiter,
            dial(limiter.address, limiter.address) as lines,
        ):
            yield limiter, lines


class Cost(NamedTuple):
    """What some calls cost."""

    cpu: float
    """Microseconds of the limiter's, each."""
    p99: float
    """Milliseconds; of warm keys at an easy pace."""
    grown: float
    """KiB of the limiter's memory, in all."""

    def __str__(self) -> str:
        return f"{self.cpu:.0f} µs, p99 {self.p99:.1f} ms, {self.grown / 1024:.0f} MB"


async def ask(limiter: Limiter, lines: list[Line], keys: Sequence[int]) -> Cost:
    """Ask for each of these keys once; all of them are registered, and pass."""
    pid = limiter.process.pid
    before = cpu(pid)
    answers = await crowd(lines, CALLERS, (question(f"k-{key}") for key in keys))
    spent = (cpu(pid) - before) / len(keys) * 1e6
    assert len(answers) == len(keys)
    assert all(answer.passes for answer in answers)
    return Cost(spent, percentile(answers, 0.99), memory(pid))


async def test_a_million_keys_cost_what_a_thousand_do() -> None:
    """Decisions about the same keys; then over a random half of all, whose memory is bounded."""
    chance = random.Random(6)
    few = [chance.randrange(FEW) for _ in range(CALLS)]
    asked = itertools.cycle([question(f"k-{key}") for key in few])
    costs: dict[int, list[Cost]] = {FEW: [], MANY: []}
    async with limiter_of(FEW) as one, limiter_of(MANY) as other:
        for number in range(ROUNDS + 1):
            for count, (limiter, lines) in ((FEW, one), (MANY, other)):
                cost = await ask(limiter, lines, few)
                easy = await paced(lines, PACE, 2.0, asked)
                if number:  # the first meets the keys
                    costs[count].append(cost._replace(p99=percentile(easy, 0.99)))
        half = chance.sample(range(MANY), MANY // 2)
        cold = [
            await ask(*other, half[first : first + AT_ONCE])
            for first in range(0, len(half), AT_ONCE)
        ]
        again = await ask(*other, few)
        figures = await other[0].figures()
    pairs = list(zip(costs[FEW], costs[MANY], strict=True))
    ratio = median(ours.cpu / theirs.cpu for theirs, ours in pairs)
    for count, each in costs.items():
        middle = Cost(*(median(column) for column in zip(*each, strict=True)))
        print(f"{FEW:,} keys of {count:,}, warm: {middle}")
    print(f"ratio {ratio:.2f}; met for the first time: {', '.join(map(str, cold))}; again: {again}")
    assert ratio < COSTLIER
    assert figures["registry_keys"] <= 2 * KEPT
    assert cold[-1].grown < MOST
    assert cold[-1].grown - cold[len(cold) // 2].grown < SLACK


async def test_many_keys_are_listed_in_pages() -> None:
    """All of them, and those of a tier that few have, while calls are decided beside."""
    asked = itertools.cycle([question(f"k-{number}") for number in range(FEW)])
    async with limiter_of(LISTED) as (limiter, lines):
        await ask(limiter, lines, range(FEW))
        for words, count in ((), LISTED), (("--tier", "rare"), LISTED // RARE):
            began = time.perf_counter()
            listing = asyncio.create_task(
                ratelimitd("keys", "list", *words, "--admin", limiter.admin)
            )
            answers = []
            while not listing.done():
                answers += await paced(lines, 300, 0.25, asked)
            took = time.perf_counter() - began
            assert (await listing).count("\n") == count
            assert all(answer.passes for answer in answers)
            print(
                f"{count:,} of {LISTED:,} keys listed in {took:.1f} s; calls beside: p99 "
                f"{percentile(answers, 0.99):.1f} ms, longest {percentile(answers, 1 - 1e-9):.1f}"
            )
            assert took < LONG
