"""A million calls, a tenth of them cancelled: the slope of memory, and what stays behind.

As shipped, a decision is made before a cancellation can be read; with 3 ms a decision the calls are
under way when they are cancelled. A quarter of an hour in all, most of it grpcio's.
"""

from __future__ import annotations

import pytest

from tests.e2e.support.limiter import AS_SHIPPED, run_limiter
from tests.robustness.outcomes import TRANSPORTS
from tests.robustness.support import planted
from tests.robustness.support.leaks import watch
from tests.robustness.support.watched import POLICY
from tests.soak import report

FIRST = 200_000
ROWS = {
    "as shipped": (AS_SHIPPED, 1_000_000),
    "3 ms a decision": (planted.program("3 ms a decision"), 500_000),
}
MOST = {"h2corn": 1 << 10, "grpcio": 8 << 10, "pyvoy": 1 << 10}
"""KiB for 100,000 calls, of which 10,000 are cancelled.

grpcio keeps something of each that is: 125 bytes as shipped; more, by grpc#43360, of calls under
way. The planted leak of tests/robustness/test_leaks.py takes 100 MiB.
"""


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_million_calls_leave_nothing_behind(transport: str, row: str) -> None:
    """No descriptor, no task, and no memory worth the name."""
    program, calls = ROWS[row]
    async with run_limiter(POLICY, transport=transport, program=program) as limiter:
        found = await watch(limiter, calls, FIRST)
    report.leaks[row][transport] = found
    print(transport, row, report.leaked(found))
    assert found.tally.calls == calls
    assert found.tally.answered <= found.decided <= calls
    assert not found.left, found
    assert found.slope < MOST[transport], found
