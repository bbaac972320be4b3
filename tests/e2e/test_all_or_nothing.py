"""A call that is denied charges nothing, across the descriptors and meters that Envoy sends."""

from __future__ import annotations

import pytest

from tests.e2e.support.deployment import Deployment, deploy
from tests.e2e.support.limiter import AS_SHIPPED
from tests.e2e.support.promised import HOUR, bearer, shown
from tests.e2e.support.waiting import room_in_window

POLICY = """
domain: agent-api
subject: {{entry: api_key, scheme: bearer, default_tier: free}}
meters: {{requests: prepaid, address: prepaid}}
tiers:
  free:
    requests: [{per_key}/hour]
    limits:
      - {{meter: address, rate: {per_address}/hour, per: [masked_remote_address]}}
"""
ADDRESS = ("meter=address", "masked_remote_address=127.0.0.1/32")
CHARGING_WHAT_IS_DENIED = f"""
from ratelimitd.stores.memory import counters
take = counters.MemoryCounters.take
async def charge_all(self, ops, *more):
    taken = await take(self, ops, *more)
    if not taken[1]:
        for op in ops:
            self.tables[op.counter.family].add(op, op.hits, taken[0])
    return taken
counters.MemoryCounters.take = charge_all
{AS_SHIPPED}
"""
"""The limiter as others are: a denied call is charged all the same."""


async def ask(deployment: Deployment, key: str, times: int) -> list[int]:
    """Send so many requests with one key, and return their statuses."""
    return [(await deployment.edge.request(headers=bearer(key))).status for _ in range(times)]


@pytest.mark.parametrize("transport", ["h2corn", "grpcio"])
async def test_what_the_address_denies_is_not_charged_to_the_key(transport: str) -> None:
    """The key keeps what it had when the address is used up, though both are asked in one call."""
    policy = POLICY.format(per_key=10, per_address=5)
    async with deploy(policy, transport=transport) as deployment:
        await room_in_window(HOUR, 10)
        assert await ask(deployment, "one", 4) == [200] * 4
        assert await ask(deployment, "two", 4) == [200] + [429] * 3
        assert await deployment.limiter.remaining("api_key=one") == 6
        assert await deployment.limiter.remaining("api_key=two") == 9
        denied = await deployment.edge.request(headers=bearer("one"))
        assert shown(denied).limit == 5, "the headers tell of the limit that denies"


@pytest.mark.parametrize("transport", ["h2corn", "grpcio"])
async def test_what_the_key_may_not_do_is_not_charged_to_the_address(transport: str) -> None:
    """One customer over its limit does not use up the address that others share."""
    policy = POLICY.format(per_key=2, per_address=10)
    async with deploy(policy, transport=transport) as deployment:
        await room_in_window(HOUR, 10)
        assert await ask(deployment, "one", 6) == [200] * 2 + [429] * 4
        assert await deployment.limiter.remaining(*ADDRESS) == 8
        assert await ask(deployment, "two", 1) == [200]
        assert await deployment.edge.outcomes() == {"ok": 3, "over_limit": 4}


async def test_a_limiter_that_charges_what_it_denies_would_be_found() -> None:
    """The twin of both."""
    policy = POLICY.format(per_key=2, per_address=10)
    async with deploy(policy, program=CHARGING_WHAT_IS_DENIED) as deployment:
        await room_in_window(HOUR, 10)
        assert await ask(deployment, "one", 6) == [200] * 2 + [429] * 4
        assert await deployment.limiter.remaining(*ADDRESS) == 4
