"""Any seed keeps the rules; see `audit` for them."""

import pytest

from tests.simulation.run import simulate

SEEDS = 500
PART = 50


@pytest.mark.parametrize("first", range(0, SEEDS, PART))
def test_no_seed_breaks_a_rule(first: int) -> None:
    """Whatever servers do: nothing over a limit, nothing charged twice, no answer of another."""
    for seed in range(first, first + PART):
        faults = simulate(seed).faults
        assert not faults, f"python -m tests.simulation {seed}\n" + "\n".join(faults)


def test_a_seed_is_always_the_same_run() -> None:
    """What a seed found can be looked at again."""
    first, second = simulate(7), simulate(7)
    assert len(first.trace) > 50
    assert (first.trace, first.figures) == (second.trace, second.figures)
    assert simulate(8).trace != first.trace


def test_the_seeds_reach_what_they_are_for() -> None:
    """Runs in which nothing goes wrong would prove nothing."""
    reached: set[str] = set()
    for seed in range(40):
        reached |= {name for name, value in simulate(seed).figures.items() if value}
    assert reached >= {
        "store_stale_total",
        "store_spanning_total",
        "store_denied_without_asking_total",
        "store_script_reloads_total",
        "store_breaker_closed_total",
        "store_breaker_refused_total",
        "store_clock_steps_total",
    }
