"""One peer floods at 1 MB/s: whether it is cut off, what it costs, and what bystanders notice.

Short here, with wide bounds, because machines are busy; the figures are in docs/reliability.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.robustness import outcomes
from tests.robustness.support.attack import attack
from tests.robustness.support.floods import FLOODS

if TYPE_CHECKING:
    from tests.e2e.support.limiter import Limiter
    from tests.robustness.support.flooder import Flooder
    from tests.robustness.support.watched import Bystander

SECONDS = 0.2
LONGER = {"continuation": 1.0}
"""What is cut off by its bytes takes its time at this rate."""
GROWTH = 48 << 10
"""KiB. Over a thousand streams that are open at once take half of it; what leaks takes more."""
KEPT, QUEUED = 1.0, 3.0
"""Seconds: a bystander's p99 beside control frames, and beside more calls than can be answered."""


@pytest.mark.parametrize("row", FLOODS)
async def test_a_flood_ends_as_the_table_says(
    transport: str, limiter: Limiter, someone: Bystander, flooder: Flooder, row: str
) -> None:
    """The bystander is served all the time, and memory stays bounded."""
    expected = outcomes.of(outcomes.FLOODS, row, transport)
    figures = await attack(
        limiter, someone, flooder, row, LONGER.get(row, SECONDS), cut=expected == outcomes.CUT
    )
    assert figures.ending == expected
    assert not figures.failures
    assert figures.grown < GROWTH
    assert figures.beside < (QUEUED if row in outcomes.OVERLOADS else KEPT)


def test_the_table_has_every_flood() -> None:
    """No row without an expected outcome, and none that nobody runs."""
    assert list(outcomes.FLOODS) == list(FLOODS)
