"""Ten thousand seeds of the Redis store's client side; `tests/simulation` says what holds."""

from tests.simulation.run import simulate

SEEDS = 10_000


def test_no_seed_of_ten_thousand_breaks_a_rule() -> None:
    """What `make test` shows for the first seeds holds for many more."""
    broken = {}
    for seed in range(SEEDS):
        if faults := simulate(seed).faults:
            broken[seed] = faults[0]
        if seed % 1000 == 999:
            print(f"{seed + 1} seeds, {len(broken)} of them broken")
    assert not broken, broken
