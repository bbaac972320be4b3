"""Restarts and reloads under 1,000 requests a second, long enough for figures.

Two limiters are restarted six times in turn, and no call may fail. What a limiter costs that is
alone, restarted or told to read its policy again, is reported.
"""

from __future__ import annotations

from typing import Final

import pytest

from tests.robustness import outcomes
from tests.robustness.outcomes import TRANSPORTS
from tests.robustness.support import planted
from tests.robustness.support.deploy import Act, reload, rolling, under_load
from tests.soak import report

ROW: Final = "two limiters, restarted in turn"
CALLS: Final = 18_000
ALONE: Final[dict[str, Act]] = {
    "one limiter, restarted": rolling(1),
    "one limiter, its policy read again": reload,
}


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_six_restarts_cost_no_call(transport: str) -> None:
    """By Envoy's counters, over 18,000 calls at least."""
    deployed = await under_load(2, transport, rolling(6, CALLS))
    report.deploys[ROW][transport] = deployed
    print(transport, ROW, report.deployed(deployed))
    assert deployed.calls >= CALLS
    assert deployed.ending == outcomes.of(outcomes.DEPLOYS, ROW, transport), deployed


@pytest.mark.parametrize("weakness", ["health not drained", "GOAWAY without waiting"])
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_what_half_the_manners_cost(transport: str, weakness: str) -> None:
    """Reported: without NOT_SERVING calls fail; without patience none does that has been drained.

    Without both some always do: see tests/robustness/test_deploy.py.
    """
    deployed = await under_load(2, transport, rolling(2), program=planted.program(weakness))
    report.deploys[f"{ROW}: {weakness}"][transport] = deployed
    print(transport, weakness, report.deployed(deployed))
    assert deployed.odd == 0


@pytest.mark.parametrize("row", ALONE)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_what_a_limiter_alone_costs(transport: str, row: str) -> None:
    """Reported; each request is answered, and each that passed unlimited is counted."""
    deployed = await under_load(1, transport, ALONE[row])
    report.deploys[row][transport] = deployed
    print(transport, row, report.deployed(deployed))
    assert deployed.errors == deployed.unlimited
    assert deployed.odd == 0
