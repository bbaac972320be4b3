"""Two limiters behind one Envoy are restarted in turn, 1,000 requests a second: nobody notices.

Two restarts; six of them over 18,000 calls are `make soak`'s, and so are a limiter alone and a
policy that is read again.
"""

from __future__ import annotations

import pytest

from tests.robustness import outcomes
from tests.robustness.outcomes import TRANSPORTS
from tests.robustness.support import planted
from tests.robustness.support.deploy import rolling, slow_news_config, under_load

ROW = "two limiters, restarted in turn"
TWIN = "gone at once"
DRAIN = "3s"
"""Long, so that a machine that is busy with other things has its health checks in time."""


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_no_call_fails_while_limiters_are_restarted(transport: str) -> None:
    """By Envoy's counters: each request was decided, and none passed without a decision."""
    deployed = await under_load(2, transport, rolling(2, 3_000), drain=DRAIN)
    assert deployed.calls >= 3_000
    assert deployed.ending == outcomes.of(outcomes.DEPLOYS, ROW, transport), deployed


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_limiter_that_is_gone_at_once_costs_calls(transport: str) -> None:
    """The twin: SERVING to the end, then calls under way are cut, and none may be made again."""
    deployed = await under_load(2, transport, rolling(2), program=planted.program(TWIN))
    assert deployed.errors == deployed.unlimited > 0
    assert deployed.ending == outcomes.of(outcomes.DEPLOYS, f"{ROW}: {TWIN}", transport), deployed


async def test_news_of_health_must_not_wait() -> None:
    """By default Envoy's threads ask the second limiter, which drains, until it is gone.

    For they hear of it a second after they have heard that the first is well again.
    """
    deployed = await under_load(2, "h2corn", rolling(4), drain="700ms", config=slow_news_config())
    assert deployed.retries + deployed.errors > 0
