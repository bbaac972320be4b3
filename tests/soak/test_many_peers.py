"""A thousand connections that are never done, and a million frames that were sound once."""

from __future__ import annotations

from typing import Final

import pytest

from tests.e2e.support.limiter import run_limiter
from tests.robustness import outcomes
from tests.robustness.outcomes import TRANSPORTS
from tests.robustness.support.crowds import CROWDS, HANGING, gather
from tests.robustness.support.fuzz import Fuzzed, fuzz
from tests.robustness.support.watched import POLICY, bystander, memory
from tests.soak import report

CROWD: Final = 1_000
HELD: Final = 15.0
FRAMES: Final = 1_000_000
PARTS: Final = 10
SETTLED: Final = 2
"""Parts after which memory has grown to what so many connections take."""
GROWTH: Final = 32 << 10
"""KiB, of the parts after that."""


@pytest.mark.parametrize("row", CROWDS)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_crowd_leaves_others_alone(transport: str, row: str) -> None:
    """Nobody else fails, and all are let go."""
    async with (
        run_limiter(POLICY, transport=transport) as limiter,
        bystander(limiter.address) as someone,
    ):
        cost = await gather(limiter, someone, row, CROWD, HELD)
    report.crowds[row][transport] = cost
    print(transport, row, report.crowd(cost))
    assert cost.held >= CROWD
    assert cost.failed == ()
    assert cost.freed < HANGING


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_mutated_frames_hurt_nobody(transport: str) -> None:
    """Every connection ends, memory stops growing, and others are served as the table says."""
    async with (
        run_limiter(POLICY, transport=transport) as limiter,
        bystander(limiter.address) as someone,
    ):
        done, sizes = Fuzzed(), []
        for part in range(PARTS):
            async with someone.calling():
                await fuzz(limiter.address, FRAMES // PARTS, part * FRAMES, done)
            sizes.append(memory(limiter.process.pid))
        assert limiter.process.returncode is None
    grown = sizes[-1] - sizes[SETTLED]
    report.fuzzed[transport] = report.Mutated(done.sent, grown, len(someone.failed), done.refused)
    print(transport, report.fuzzed[transport], sizes, someone.failed[:5])
    assert done.sent >= FRAMES
    assert done.hung == []
    assert grown < GROWTH
    assert len(someone.failed) <= outcomes.FUZZ_FAILURES[transport]
