"""Decisions in Redis through a real Envoy, as shipped, beside a limiter that decides nothing."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench import servers
from tests.e2e.support.crowd import timed_crowd
from tests.e2e.support.edge import run_edge
from tests.e2e.support.redis_fleet import AS_SHIPPED_SILENCE, run_fleet
from tests.soak import report_redis
from tests.soak.test_redis_load import ROUNDS, quiet

if TYPE_CHECKING:
    from tests.e2e.support.edge import Edge
    from tests.support.redis.server import Server

POLICY: Final = (Path(servers.__file__).with_name("policy.yaml")).read_text("utf-8")
SECONDS: Final = 2.5
WARMED: Final = 4_000
CALLERS: Final = 64
KEY: Final = "demo-free-0123456789"
HANGS: Final = 120.0
WORSE: Final = 5.0
"""Milliseconds."""
REDIS, NOOP = "Redis", "no decision"


async def requests(edge: Edge, count: int, rate: float = math.inf) -> list[float]:
    """Send requests at a rate, all of which pass; return their seconds."""
    async with asyncio.timeout(HANGS):
        seen = await timed_crowd(
            edge.envoy.edge, callers=CALLERS, requests=count, key=lambda _: KEY, rate=rate
        )
    assert seen.statuses == {200: count}
    return seen.seconds


async def failed_open(edge: Edge) -> int:
    """Return how many requests Envoy let pass without an answer."""
    return (await edge.outcomes()).get("failure_mode_allowed", 0)


async def test_redis_costs_little_beside_no_decision_at_all(own_redis: Server) -> None:
    """At half of the most, p99.9 is within 5 ms; Envoy gives up no more calls than without."""
    async with contextlib.AsyncExitStack() as stack:
        fleet = run_fleet(own_redis.url, POLICY, processes=1, silence=AS_SHIPPED_SILENCE)
        (limiter,) = await stack.enter_async_context(fleet)
        noop = stack.enter_context(servers.running(servers.noop()))
        edges = {
            REDIS: await stack.enter_async_context(run_edge(limiter.address)),
            NOOP: await stack.enter_async_context(run_edge(noop.target)),
        }
        for edge in edges.values():
            await requests(edge, WARMED)
        began = time.perf_counter()
        await requests(edges[REDIS], WARMED)
        rate = WARMED / (time.perf_counter() - began) / 2
        before = {name: await failed_open(edge) for name, edge in edges.items()}
        p999: dict[str, list[float]] = {name: [] for name in edges}
        for _ in range(ROUNDS):
            for name, edge in edges.items():
                took = sorted(await requests(edge, int(rate * SECONDS), rate))
                p999[name].append(took[int(len(took) * 0.999)] * 1e3)
        opened = {name: await failed_open(edge) - before[name] for name, edge in edges.items()}
    found = {name: quiet(each) for name, each in p999.items()}
    report_redis.others[f"through Envoy, {rate:,.0f} requests a second (half of the most)"] = (
        ", ".join(f"{name}: p99.9 {found[name]:.1f} ms, {opened[name]} let pass" for name in edges)
        + f" (third best of {ROUNDS} rounds of {int(rate * SECONDS):,})"
    )
    print(p999, opened, rate)
    assert found[REDIS] <= found[NOOP] + WORSE
    assert opened[REDIS] <= opened[NOOP]
