"""How long calls wait while a policy of 10,000 rules is read beside them, and the log rotates.

The reference is 5 ms, a quarter of what Envoy waits by default; it is reported. What is asserted
must hold on a busy machine too: far less than reading the policy takes.
"""

from __future__ import annotations

import pytest

from tests.e2e.support.limiter import AS_SHIPPED
from tests.robustness.outcomes import TRANSPORTS
from tests.robustness.support import planted
from tests.robustness.support.reloads import reloads
from tests.soak import report

TIMES = 10
MOST = 0.1
"""Seconds: an Envoy that waits longer is one that is told to."""


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_nobody_waits_for_a_reload(transport: str) -> None:
    """Neither by the callers' clocks nor by the limiter's own figures."""
    lag = await reloads(transport, AS_SHIPPED, TIMES)
    report.lags[transport] = lag
    print(transport, lag)
    assert not lag.failures
    assert lag.p999 < MOST
    assert lag.loop_p999 < MOST


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_planted_stall_is_seen(transport: str) -> None:
    """The twin: a policy that is read in the event loop stops everybody, and both figures tell."""
    lag = await reloads(transport, planted.program("policies read in the loop"), 2)
    assert lag.longest > MOST
    assert lag.loop_max > MOST
