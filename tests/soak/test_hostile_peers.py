"""The rows of tests/robustness, long enough for figures; writes docs/reliability.md at the end.

Bounded: some twenty minutes. A row that ends otherwise than in the table fails, and then nothing is
written.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e.support.deployment import patient_config
from tests.e2e.support.limiter import AS_SHIPPED, run_limiter
from tests.robustness import outcomes
from tests.robustness.outcomes import CUT, TRANSPORTS
from tests.robustness.support import aborts, planted
from tests.robustness.support.attack import attack
from tests.robustness.support.flooder import run_flooder
from tests.robustness.support.floods import FLOODS
from tests.robustness.support.slow import wrong_waits
from tests.robustness.support.watched import POLICY, bystander
from tests.soak import report

if TYPE_CHECKING:
    from tests.robustness.support.aborts import Storm
    from tests.robustness.support.attack import Figures

FLOOD_SECONDS = 2.8
ROUNDS = 3
SLOW: Final = planted.program("3 ms a decision")
STORMS: Final = {
    "as shipped": (AS_SHIPPED, 30, patient_config),
    "3 ms a decision": (SLOW, 30, patient_config),
    "3 ms a decision, connections without end": (SLOW, 5, aborts.unbounded_config),
}
floods: Final[dict[str, dict[str, Figures]]] = defaultdict(dict)
storms: Final[dict[str, dict[str, Storm]]] = defaultdict(dict)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_floods(transport: str) -> None:
    """Every flood ends as the table says; nobody else's call fails, or takes much longer."""
    async with (
        run_limiter(POLICY, transport=transport) as limiter,
        bystander(limiter.address) as someone,
        run_flooder() as flooder,
    ):
        for row in FLOODS:
            cut = outcomes.of(outcomes.FLOODS, row, transport) == CUT
            figures = await attack(
                limiter, someone, flooder, row, FLOOD_SECONDS, cut=cut, rounds=ROUNDS
            )
            floods[row][transport] = figures
            print(transport, row, report.flood(figures), *figures.failures, flush=True)
    slowed = {
        row: round(each[transport].ratio, 1)
        for row, each in floods.items()
        if each[transport].ratio > outcomes.SLOWED.get((row, transport), outcomes.BESIDE)
    }
    found = {row: each[transport].ending for row, each in floods.items()}
    assert found == outcomes.column(outcomes.FLOODS, transport)
    assert not someone.failed
    assert not slowed


@pytest.mark.parametrize("row", STORMS)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_aborts(transport: str, row: str) -> None:
    """The connections that all callers share are kept, or lost, as the table says."""
    program, seconds, config = STORMS[row]
    quiet = await aborts.storm(transport, program, 2, aborting=False)
    assert (quiet.closed, quiet.errors, quiet.odd) == (0, 0, 0)
    seen = await aborts.storm(transport, program, seconds, config=config())
    storms[row][transport] = seen
    print(transport, row, report.storm(seen))
    assert seen.odd == 0
    assert seen.ending == outcomes.of(outcomes.ABORTS, row, transport)


async def test_slow_peers() -> None:
    """Whoever is cut off is cut off within 12 s, as the table says."""
    assert await wrong_waits(12) == {}


def test_the_report_is_written() -> None:
    """Of whole tables only."""
    assert all(set(each) == set(TRANSPORTS) for each in floods.values())
    assert all(set(each) == set(TRANSPORTS) for each in storms.values())
    assert (set(floods), set(storms)) == (set(FLOODS), set(STORMS))
    report.write(floods, storms, aborts.RATE)
