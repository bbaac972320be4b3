"""A limiter of several stops, orderly or not, while customers go on calling through Envoy.

Judged by Envoy's counters: a request that passed unlimited looks to its client like any other.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from tests.e2e.support.crowd import Statuses, crowd_until
from tests.e2e.support.deployment import deploy, patient_config, rate_limit_filter
from tests.e2e.support.edge import run_edge
from tests.e2e.support.limiter import AS_SHIPPED, run_limiter
from tests.e2e.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tests.e2e.support.deployment import Config
    from tests.e2e.support.edge import Edge
    from tests.e2e.support.limiter import Limiter

CALLERS = 16
MORE = 500
"""Requests that show that load goes on: a fraction of a second's worth."""
UNLIMITED = """
domain: agent-api
subject: {entry: api_key, scheme: bearer, default_tier: free}
meters: {requests: prepaid, address: prepaid}
tiers: {free: {requests: [1_000_000_000/hour]}}
"""
UNHURRIED = ("--drain", "3s")
"""Of a busy machine, where a health check now and then comes later than in the shipped second."""
WITHOUT_DRAIN = f"import sys; sys.argv += ['--drain', '0s']; {AS_SHIPPED}"


def impatient_retries() -> Config:
    """The shipped configuration with Envoy's default: one attempt to find another process."""
    config = patient_config()
    policy = rate_limit_filter(config)["rate_limit_service"]["grpc_service"]["retry_policy"]
    del policy["host_selection_retry_max_attempts"]
    return config


async def progress(edge: Edge) -> None:
    """Wait until some more requests have been decided."""

    async def decided() -> int:
        return (await edge.outcomes()).get("ok", 0)

    before = await decided()

    async def went_on() -> bool:
        return await decided() >= before + MORE

    await wait_until(went_on, description="load goes on")


@contextlib.asynccontextmanager
async def load(edge: Edge) -> AsyncIterator[Statuses]:
    """Keep `CALLERS` calling while the block runs; the value is full once it has ended."""
    stop, seen = asyncio.Event(), Statuses()
    calling = asyncio.ensure_future(
        crowd_until(edge.envoy.edge, stop, callers=CALLERS, key=lambda n: f"k{n % 50}")
    )
    try:
        await progress(edge)
        yield seen
        await progress(edge)
    finally:
        stop.set()
        seen.update(await calling)


@contextlib.asynccontextmanager
async def two_limiters(
    transport: str, config: Config, program: str = AS_SHIPPED, flags: Sequence[str] = ()
) -> AsyncIterator[tuple[Limiter, Edge]]:
    """Two limiters behind one Envoy; the value has the one that will stop."""
    async with (
        run_limiter(UNLIMITED, transport=transport, program=program, flags=flags) as leaving,
        run_limiter(UNLIMITED, transport=transport) as staying,
        run_edge(leaving.address, staying.address, config=config) as edge,
    ):
        yield leaving, edge


@pytest.mark.parametrize("transport", ["h2corn", "grpcio", "pyvoy"])
async def test_customers_do_not_notice_a_restart(transport: str) -> None:
    """SIGTERM under load: the limiter exits with 0, and no call fails or passes unlimited.

    Envoy leaves the limiter out before it closes its connections, so nothing is even retried.
    """
    async with two_limiters(transport, patient_config(), flags=UNHURRIED) as (leaving, edge):
        async with load(edge) as seen:
            assert await leaving.terminate() == 0
        stats = await edge.envoy.stats(r"^cluster\.limiter\.")
        assert await edge.outcomes() == {"ok": seen[200]}
        assert seen.total() == seen[200]
        assert stats["cluster.limiter.upstream_cx_connect_fail"] == 0
        assert stats["cluster.limiter.membership_healthy"] == 1


async def test_a_process_that_is_killed_costs_only_the_calls_it_had() -> None:
    """Until the health check finds out, calls that reach nobody are made to the other process."""
    async with two_limiters("h2corn", patient_config()) as (leaving, edge):
        async with load(edge) as seen:
            leaving.process.kill()
            await progress(edge)
        outcomes = await edge.outcomes()
        # Twice: the kernel may still have accepted a new connection for it, which dies as well.
        assert outcomes.get("error", 0) <= 2 * CALLERS
        assert outcomes.get("failure_mode_allowed", 0) == outcomes.get("error", 0)
        assert outcomes["ok"] + outcomes.get("error", 0) == seen[200] == seen.total()
        stats = await edge.envoy.stats(r"^cluster\.limiter\.")
        assert stats["cluster.limiter.upstream_rq_retry_success"] > 2 * CALLERS


async def test_without_our_drain_and_retries_many_requests_would_pass_unlimited() -> None:
    """The twin of both: no drain, and Envoy's own retries, which mostly end at the dead process."""
    async with two_limiters("h2corn", impatient_retries(), WITHOUT_DRAIN) as (leaving, edge):
        async with load(edge):
            assert await leaving.terminate() == 0
        assert (await edge.outcomes())["failure_mode_allowed"] > 2 * CALLERS


@pytest.mark.parametrize("transport", ["h2corn", "grpcio", "pyvoy"])
async def test_when_the_only_limiter_is_gone_requests_pass_and_are_counted(transport: str) -> None:
    """The documented mode of failure: 200 without our headers, `failure_mode_allowed` for each."""
    async with deploy(transport=transport) as deployment:
        edge = deployment.edge
        assert (await edge.request()).all("x-ratelimit-limit") == ["100"]
        assert await deployment.limiter.terminate() == 0
        for _ in range(3):
            answer = await edge.request()
            assert answer.status == 200
            assert not [name for name, _ in answer.headers if "ratelimit" in name]
        assert await edge.outcomes() == {"ok": 1, "error": 3, "failure_mode_allowed": 3}
