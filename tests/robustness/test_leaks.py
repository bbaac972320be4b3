"""Twenty thousand calls, a tenth of them cancelled: nothing stays behind. The million is a soak.

The callers' frames are made by hand, so what they count is held against the limiter's own counts.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.e2e.support.limiter import AS_SHIPPED, run_limiter
from tests.robustness.outcomes import TRANSPORTS
from tests.robustness.support import planted
from tests.robustness.support.leaks import SPARE, Leaks, slope, watch
from tests.robustness.support.watched import POLICY

if TYPE_CHECKING:
    from collections.abc import Iterable

CALLS, FIRST = 20_000, 10_000
MOST = 40 << 10
"""KiB for 100,000 calls. The planted leak takes 100 MiB; an allocator's whims take a MiB here."""
WAITING = "3 ms a decision"
"""So that calls are under way when they are cancelled."""


async def _watch(transport: str, program: str) -> Leaks:
    async with run_limiter(POLICY, transport=transport, program=program) as limiter:
        return await watch(limiter, CALLS, FIRST)


@pytest.mark.parametrize("program", [AS_SHIPPED, planted.program(WAITING)], ids=["", WAITING])
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_cancelled_calls_leave_nothing_behind(transport: str, program: str) -> None:
    """No task and no descriptor, and no memory worth the name."""
    leaks = await _watch(transport, program)
    assert leaks.tally.calls == CALLS
    assert leaks.tally.cancelled == CALLS // 10
    assert leaks.tally.answered > CALLS * 0.85
    assert leaks.tally.answered <= leaks.decided <= CALLS
    assert not leaks.left, leaks
    assert leaks.slope < MOST, leaks


async def test_a_planted_leak_is_found() -> None:
    """The twin: a limiter that keeps a kB of each call, and a task and a descriptor of some."""
    program = planted.program("a leak")
    for leaks in await asyncio.gather(*(_watch(transport, program) for transport in TRANSPORTS)):
        assert leaks.slope > MOST, leaks
        assert leaks.descriptors > SPARE, leaks
        assert leaks.tasks > SPARE, leaks


def _samples(growth: float) -> Iterable[tuple[int, int]]:
    return ((calls, 70_000 + int(calls * growth)) for calls in range(0, 100_000, 10_000))


@pytest.mark.parametrize("growth", [0, 0.01, -0.01])
def test_the_slope_is_that_of_the_samples(growth: float) -> None:
    """KiB for 100,000 calls."""
    assert slope(list(_samples(growth))) == pytest.approx(growth * 100_000, abs=1)
