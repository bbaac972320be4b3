"""Envoy's clients go away, 500 a second: what becomes of the connection that everybody shares.

With decisions of 3 ms, so that nearly every abort meets a call under way. 30 s of it, and of the
limiter as shipped, are `make soak`'s.
"""

from __future__ import annotations

import pytest

from tests.e2e.support.edge import shipped_config
from tests.robustness import outcomes
from tests.robustness.outcomes import TRANSPORTS
from tests.robustness.support import planted
from tests.robustness.support.aborts import storm, unbounded_config

ROW = "3 ms a decision"
RESETS = 200
"""What h2corn bears on a connection in 10 s; it cannot be set."""
TWIN = "3 ms a decision, connections without end"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_aborts_cost_bystanders_what_the_table_says(transport: str) -> None:
    """By Envoy's counters; what it answers itself, when a connection is lost, is still a 200."""
    seen = await storm(transport, planted.program(ROW), 3)
    assert seen.resets > 300
    assert seen.odd == 0
    assert seen.ending == outcomes.of(outcomes.ABORTS, ROW, transport), seen


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_it_is_the_bound_on_connections_that_keeps_them(transport: str) -> None:
    """The twin: where a connection sees as many resets as come, h2corn ends it."""
    seen = await storm(transport, planted.program(ROW), 3, config=unbounded_config())
    assert seen.resets > 300
    assert seen.retired == 0
    assert seen.ending == outcomes.of(outcomes.ABORTS, TWIN, transport), seen


def test_no_connection_lives_to_see_200_streams() -> None:
    """By construction, then, none sees the 200 resets that h2corn bears."""
    clusters = shipped_config()["static_resources"]["clusters"]
    (limiter,) = (each for each in clusters if each["name"] == "limiter")
    (options,) = limiter["typed_extension_protocol_options"].values()
    bound = options["common_http_protocol_options"]["max_requests_per_connection"]
    assert 0 < bound < RESETS
