"""The bounds on bodies and headers and the manners of the end, and twins without each of them."""

from __future__ import annotations

import asyncio

import pytest

from tests.e2e.support.limiter import AS_SHIPPED, run_limiter
from tests.robustness import outcomes
from tests.robustness.outcomes import TRANSPORTS
from tests.robustness.support import planted
from tests.robustness.support.bounds import BOUNDS
from tests.robustness.support.watched import POLICY


async def _endings(row: str, program: str = AS_SHIPPED) -> tuple[str, ...]:
    async def ending(transport: str) -> str:
        async with run_limiter(POLICY, transport=transport, program=program) as limiter:
            return await BOUNDS[row](limiter)

    return tuple(await asyncio.gather(*map(ending, TRANSPORTS)))


@pytest.mark.parametrize("row", BOUNDS)
async def test_a_bound_holds(row: str) -> None:
    """On every transport, as the table says."""
    assert await _endings(row) == outcomes.BOUNDS[row]


@pytest.mark.parametrize("row", BOUNDS)
async def test_a_planted_weakness_fails_its_row(row: str) -> None:
    """The twin: without the bound the same row ends in something else."""
    found = await _endings(row, planted.program(row))
    assert found == outcomes.PLANTED[row]


def test_every_weakness_is_noticed_but_for_those_that_are_there_anyway() -> None:
    """A row that ends alike with and without its bound proves nothing."""
    alike = {
        (row, transport)
        for row in BOUNDS
        for transport in TRANSPORTS
        if outcomes.of(outcomes.BOUNDS, row, transport)
        == outcomes.of(outcomes.PLANTED, row, transport)
    }
    assert alike == outcomes.UNNOTICED
