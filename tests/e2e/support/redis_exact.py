"""How exact a fleet is: many callers for one key, and calls whose counters lie in several slots."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import itertools
from typing import TYPE_CHECKING, Final

from tests.e2e.support.redis_calls import crowd, dial, question
from tests.e2e.support.redis_fleet import counters, run_fleet, total
from tests.e2e.support.waiting import room_in_window, wait_until

if TYPE_CHECKING:
    from tests.support.redis.cluster import Cluster

LIMIT: Final = 1_000
CALLS: Final = 20_000
CALLERS: Final = 64
"""Of each process."""
PROCESSES: Final = 4
KEYS: Final = 10
SHARE: Final = 2 * LIMIT // KEYS
"""What each caller of a shared limit may use: together twice of what all may."""
WINDOW: Final = 30 * 86_400
"""Seconds: longer than any test, and so is the refill of one hit."""
_RATE: Final = f"rate: {LIMIT}/30d"
ALGORITHMS: Final = ("fixed_window", "sliding_window", "token_bucket")
_TIERS: Final = ", ".join(
    f"{name}: {{limits: [{{meter: requests, {_RATE}, algorithm: {name}}}]}}" for name in ALGORITHMS
)
_KEYS: Final = ", ".join(f"{{key: {name}, tier: {name}}}" for name in ALGORITHMS)
POLICY: Final = f"""
domain: test
subject: {{default_tier: deny}}
tiers: {{{_TIERS}}}
keys: [{_KEYS}]
"""
"""A caller for each algorithm, who has its name."""
_SHARED: Final = (
    f"{{meter: requests, {_RATE}, per: [], name: all}}, "
    f"{{meter: requests, rate: {SHARE}/30d, name: each}}"
)
SHARING: Final = f"""
domain: test
subject: {{default_tier: t}}
tiers: {{t: {{limits: [{_SHARED}]}}}}
"""
GIVEN_BACK_WITHIN: Final = 30.0


async def exactly(store: str, calls: int = CALLS) -> dict[str, int]:
    """Return how many of `calls` of one key passed, by algorithm.

    Fails if a call was not answered, or was answered by other than the store.
    """
    passed = {}
    async with run_fleet(store, POLICY, processes=PROCESSES) as limiters:
        await room_in_window(WINDOW, 60)
        async with dial(*(limiter.address for limiter in limiters)) as lines:
            for name in ALGORITHMS:
                answers = await crowd(lines, CALLERS, itertools.repeat(question(name), calls))
                assert len(answers) == calls
                assert all(answer.decision for answer in answers)
                passed[name] = sum(answer.passes for answer in answers)
        assert await total(limiters, "store_failures_total") == 0
        assert await total(limiters, "store_batches_total") > 0
    return passed


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """What came of calls that span slots."""

    each: dict[str, int]
    """Calls that passed, by caller."""
    failures: int
    """Calls that were not decided by the store."""
    counted_all: int
    """What the shared counter says in the end."""
    counted_each: list[int]
    """What the callers' own counters say, in no order."""

    @property
    def passed(self) -> int:
        """Calls that passed."""
        return sum(self.each.values())


async def spread(cluster: Cluster, calls: int) -> Spread:
    """Let ten callers use a limit that they share, each with one of its own besides."""
    keys = [f"caller-{number}" for number in range(KEYS)]
    async with run_fleet(cluster.url, SHARING, processes=PROCESSES) as limiters:
        await room_in_window(WINDOW, 60)
        passed: collections.Counter[str] = collections.Counter()
        async with dial(*(limiter.address for limiter in limiters)) as lines:

            async def use(key: str) -> None:
                asked = itertools.repeat(question(key), calls // KEYS)
                passed[key] = sum(each.passes for each in await crowd(lines, 6, asked))

            await asyncio.gather(*map(use, keys))

        async def nothing_owed() -> bool:
            return await total(limiters, "store_owed") == 0

        await wait_until(nothing_owed, description="all is given back", within=GIVEN_BACK_WITHIN)
        failures = int(await total(limiters, "store_failures_total"))
        assert await total(limiters, "store_given_back_total") > 0
    kept = counters(*cluster.nodes)
    (shared,) = [used for key, used in kept.items() if "subject" not in key]
    own = [used for key, used in kept.items() if "subject" in key]
    return Spread(each=dict(passed), failures=failures, counted_all=shared, counted_each=own)
