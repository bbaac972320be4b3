"""However many ask at once through Envoy, exactly the limit passes."""

from __future__ import annotations

import pytest

from tests.e2e.support.crowd import crowd
from tests.e2e.support.deployment import deploy, patient_config
from tests.e2e.support.edge import run_edge
from tests.e2e.support.limiter import run_limiter
from tests.e2e.support.promised import HOUR
from tests.e2e.support.waiting import room_in_window

LIMIT, REQUESTS, CALLERS = 100, 400, 100
POLICY = f"""
domain: agent-api
subject: {{entry: api_key, scheme: bearer, default_tier: free}}
meters: {{requests: prepaid, address: prepaid}}
tiers: {{free: {{requests: [{LIMIT}/hour]}}}}
"""


def one_key(_: int) -> str:
    """Everybody is the same caller."""
    return "shared-by-all"


@pytest.mark.parametrize("transport", ["h2corn", "grpcio"])
async def test_exactly_the_limit_passes(transport: str) -> None:
    """Of 400 requests from 100 connections 100 pass, and Envoy's counts say the same."""
    async with deploy(POLICY, transport=transport) as deployment:
        await room_in_window(HOUR, 10)
        address = deployment.edge.envoy.edge
        seen = await crowd(address, callers=CALLERS, requests=REQUESTS, key=one_key)
        assert seen == {200: LIMIT, 429: REQUESTS - LIMIT}
        assert await deployment.edge.outcomes() == {"ok": LIMIT, "over_limit": REQUESTS - LIMIT}
        assert sum(deployment.edge.arrivals.values()) == LIMIT


@pytest.mark.parametrize("transport", ["h2corn", "grpcio"])
async def test_each_of_many_keys_has_its_own_limit(transport: str) -> None:
    """Four keys in one crowd: as many times the limit passes, and no key has another's share."""
    async with deploy(POLICY, transport=transport) as deployment:
        await room_in_window(HOUR, 10)
        address = deployment.edge.envoy.edge
        seen = await crowd(
            address, callers=CALLERS, requests=2 * REQUESTS, key=lambda n: f"key-{n % 4}"
        )
        assert seen == {200: 4 * LIMIT, 429: 2 * REQUESTS - 4 * LIMIT}
        assert set(await deployment.edge.outcomes()) == {"ok", "over_limit"}


async def test_two_limiters_that_do_not_share_their_counts_would_be_found() -> None:
    """The twin: two processes that count in memory let twice the limit pass."""
    async with (
        run_limiter(POLICY) as one,
        run_limiter(POLICY) as other,
        run_edge(one.address, other.address, config=patient_config()) as edge,
    ):
        await room_in_window(HOUR, 10)
        seen = await crowd(edge.envoy.edge, callers=CALLERS, requests=REQUESTS, key=one_key)
        assert LIMIT < seen[200] <= 2 * LIMIT
