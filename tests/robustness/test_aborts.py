"""Envoy's clients go away, 500 a second: what becomes of the connection that everybody shares.

With decisions of 3 ms, so that nearly every abort meets a call under way. 30 s of it, and of the
limiter as shipped, are `make soak`'s.
"""

from __future__ import annotations

import pytest

from tests.robustness import outcomes
from tests.robustness.outcomes import TRANSPORTS
from tests.robustness.support import planted
from tests.robustness.support.aborts import storm

ROW = "3 ms a decision"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_aborts_cost_bystanders_what_the_table_says(transport: str) -> None:
    """By Envoy's counters; what it answers itself, when a connection is lost, is still a 200."""
    seen = await storm(transport, planted.program(ROW), 3)
    assert seen.resets > 300
    assert seen.odd == 0
    assert seen.ending == outcomes.of(outcomes.ABORTS, ROW, transport), seen
