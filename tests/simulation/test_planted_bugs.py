"""The simulation finds bugs that were put there: each within a few seeds, named by its symptom."""

import pytest

from tests.simulation.plants import PLANTS
from tests.simulation.run import simulate

FOUND = (
    ("one client retry on timeout", 0, "decided more than once"),
    ("no compensation", 0, "nobody means to give it back"),
    ("the host's clock", 0, "in the future"),
    ("cache not undone by a refund", 0, "denied from the cache after a refund"),
    ("reply queue shifted by one", 40, "heard"),
    ("replay without ids", 0, "its report was counted"),
    ("breaker that never closes", 0, "no service after the faults"),
    ("lost give-back", 40, "was never given back"),
)
MOST = 50
"""Seeds from the one named; all are below 1,000."""


@pytest.mark.parametrize(("plant", "first", "symptom"), FOUND, ids=[row[0] for row in FOUND])
def test_a_planted_bug_is_found(plant: str, first: int, symptom: str) -> None:
    """A rule that no bug breaks would be no rule."""
    seeds = range(first, first + MOST)
    assert any(symptom in fault for seed in seeds for fault in simulate(seed, PLANTS[plant]).faults)


def test_every_planted_bug_has_its_symptom() -> None:
    """None is planted and then forgotten."""
    assert {row[0] for row in FOUND} == set(PLANTS)
