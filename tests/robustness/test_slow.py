"""Peers that take their time: after how long each is cut off, on all transports at once."""

from __future__ import annotations

import asyncio

from tests.e2e.support.limiter import run_limiter
from tests.robustness import outcomes
from tests.robustness.outcomes import TRANSPORTS
from tests.robustness.support.slow import SLOW, patience
from tests.robustness.support.watched import POLICY, bystander

MOST = 12.0
"""Seconds; over every bound that is set."""
TOLERANCE = 2.0


async def _waits(transport: str) -> list[float | None]:
    """Return what each slow peer saw; somebody who comes afterwards is served."""
    async with run_limiter(POLICY, transport=transport) as limiter:
        waits = await asyncio.gather(
            *(patience(limiter.address, slow, MOST) for slow in SLOW.values())
        )
        async with bystander(limiter.address):
            return waits


def _agree(expected: float | None, found: float | None) -> bool:
    if expected is None or found is None:
        return expected is found
    return abs(expected - found) < TOLERANCE


async def test_slow_peers_are_cut_off_when_the_table_says() -> None:
    """Every row on every transport; None is a peer that is borne for as long as it likes."""
    found = await asyncio.gather(*map(_waits, TRANSPORTS))
    assert list(SLOW) == list(outcomes.SLOW)
    wrong = {
        (row, transport): (expected, seen)
        for transport, column in zip(TRANSPORTS, found, strict=True)
        for (row, waits), seen in zip(outcomes.SLOW.items(), column, strict=True)
        if not _agree(expected := waits[TRANSPORTS.index(transport)], seen)
    }
    assert wrong == {}
