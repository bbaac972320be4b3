"""`Retry-After` through Envoy is true: denied one second before it, allowed at it."""

from __future__ import annotations

import math
import time

import pytest

from tests.e2e.support.deployment import deploy
from tests.e2e.support.promised import bearer, denial, shown
from tests.e2e.support.waiting import room_in_window, wait_for_instant

WINDOW = 3
POLICY = """
domain: agent-api
subject: {{entry: api_key, scheme: bearer, default_tier: free}}
meters: {{requests: prepaid, address: prepaid}}
tiers: {{free: {{requests: [{rates}]}}}}
"""


@pytest.mark.parametrize("transport", ["h2corn", "grpcio"])
async def test_who_waits_as_told_passes_and_who_comes_early_does_not(transport: str) -> None:
    """Three in three seconds; the fourth is told how long, and a second less is too early."""
    policy = POLICY.format(rates=f"3/{WINDOW}s")
    async with deploy(policy, transport=transport) as deployment:
        edge, key = deployment.edge, bearer("patient")
        # Begins right after a boundary: else a second before the end would be the window before.
        end = await room_in_window(WINDOW, WINDOW - 0.5)
        allowed = [await edge.request(headers=key) for _ in range(3)]
        denied = await edge.request(headers=key)
        told_at = time.time()
        assert [answer.status for answer in allowed] == [200] * 3
        assert [shown(answer).remaining for answer in allowed] == [2, 1, 0]
        (wait,) = map(int, denied.all("retry-after"))
        assert wait == math.ceil(end - told_at) == WINDOW
        assert denial(denied)["retry_after"] == wait
        await wait_for_instant(told_at + wait - 1)
        early = await edge.request(headers=key)
        assert (early.status, early.all("retry-after")) == (429, ["1"])
        await wait_for_instant(told_at + wait)
        assert (await edge.request(headers=key)).status == 200
        assert await edge.outcomes() == {"ok": 4, "over_limit": 2}


@pytest.mark.parametrize("transport", ["h2corn", "grpcio"])
async def test_of_two_limits_the_one_that_keeps_a_caller_longest_is_told(transport: str) -> None:
    """Denied by a limit of seconds and by one of hours, a caller is told of the hours."""
    policy = POLICY.format(rates="2/hour, 2/30s")
    async with deploy(policy, transport=transport) as deployment:
        edge, key = deployment.edge, bearer("both")
        end = await room_in_window(3600, 33)
        await room_in_window(30, 3)
        for _ in range(2):
            assert (await edge.request(headers=key)).status == 200
        denied = await edge.request(headers=key)
        told = shown(denied)
        assert (told.limit, told.remaining, told.reset) == (2, 0, end)
        assert denied.all("retry-after") == [str(told.reset_after)]
        assert told.reset_after > 30
