"""Peers that take their time: after how long each is cut off, on all transports at once.

For as long as the shorter bounds (5 s); `make soak` waits for the longer ones (10 s) too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.robustness import outcomes
from tests.robustness.support.crowds import CROWDS, HANGING, gather
from tests.robustness.support.slow import SLOW, wrong_waits

if TYPE_CHECKING:
    from tests.e2e.support.limiter import Limiter
    from tests.robustness.support.watched import Bystander

MOST = 7.5
PEERS, HELD = 300, 1.2
LARGEST = 100
"""KiB of memory that a connection may cost."""
KEPT = 1.0
"""Seconds: a bystander's p99 on a busy machine."""


async def test_slow_peers_are_cut_off_when_the_table_says() -> None:
    """Every row on every transport; None is a peer that is borne for as long as it likes."""
    assert list(SLOW) == list(outcomes.SLOW)
    assert await wrong_waits(MOST) == {}


@pytest.mark.parametrize("row", CROWDS)
async def test_many_half_open_connections_leave_others_alone(
    limiter: Limiter, someone: Bystander, row: str
) -> None:
    """Hundreds that are never done: calls go on, memory is bounded, and all are let go."""
    cost = await gather(limiter, someone, row, PEERS, HELD)
    assert cost.held >= PEERS
    assert cost.failed == ()
    assert cost.beside < KEPT
    assert cost.grown < PEERS * LARGEST
    assert cost.freed < HANGING
