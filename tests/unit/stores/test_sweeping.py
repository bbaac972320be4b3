"""Tables that nobody uses any more are dropped, and a store tells how much it holds."""

from dataclasses import dataclass

import pytest

from ratelimitd.clock import ManualClock
from ratelimitd.model import Limit, Op
from ratelimitd.stores.memory.counters import SWEEP_EVERY, MemoryCounters
from ratelimitd.stores.memory.tables import TABLES
from tests.support.ops import (
    HOUR,
    HOURLY,
    MINUTE,
    MINUTELY,
    NEW_YEAR,
    S,
    acquire,
    bucket,
    charge,
    counter,
    fixed,
    leases,
    report,
    sliding,
)
from tests.support.stores import at_once


@dataclass
class Held:
    """A store, and the clock that it counts by."""

    clock: ManualClock
    store: MemoryCounters

    def take(self, *ops: Op) -> None:
        """Do one call."""
        at_once(self.store.take(ops))


@pytest.fixture
def held() -> Held:
    """A store with room for two invented counters in each family."""
    clock = ManualClock(NEW_YEAR)
    return Held(clock, MemoryCounters(clock, room=2))


FAMILIES = [
    (charge(fixed(3)), HOUR),
    (charge(sliding(3)), 2 * HOUR),
    (charge(bucket(3, HOURLY, burst=3)), 4 * HOUR),
    (acquire(leases(3), "a"), 30 * MINUTE),
]


@pytest.mark.parametrize(("used", "after"), FAMILIES, ids=["fixed", "sliding", "bucket", "lease"])
def test_a_family_that_nobody_asks_about_is_dropped_when_it_is_over(
    held: Held, used: Op, after: int
) -> None:
    """A policy that names it no more leaves nothing behind; and not a moment too soon."""
    held.take(used)
    held.clock.advance(after - 1)
    held.take(charge(fixed(3, MINUTELY)))
    assert used.counter.family in held.store.tables
    held.clock.advance(SWEEP_EVERY)
    held.take(charge(fixed(3, MINUTELY)))
    assert used.counter.family not in held.store.tables


def test_a_debt_keeps_its_table(held: Held) -> None:
    """Whatever is still owed when others are swept is owed."""
    limit = bucket(60, HOURLY, burst=1)
    held.take(report(limit, 60))
    for _ in range(58):
        held.clock.advance(MINUTE)
        held.take(charge(fixed(3, MINUTELY)))
    assert at_once(held.store.take([charge(limit)])).passed is False


def test_a_restored_bucket_is_not_dropped_before_its_time() -> None:
    """Its row says how long it matters; nobody has written it since the start."""
    limit = bucket(1, burst=9)
    table = TABLES[limit.algorithm](limit, 10)
    table.restore([(0, b"caller", 9 * S, NEW_YEAR, NEW_YEAR + 10 * S)], NEW_YEAR + 1)
    assert not table.is_over(NEW_YEAR + 10 * S - 1)
    assert table.judge(counter(limit), limit, 1, NEW_YEAR + 1).before == 9
    assert table.is_over(NEW_YEAR + 21 * S)


@pytest.mark.parametrize("limit", [fixed(9), sliding(9), bucket(9, burst=9)])
def test_the_figures_tell_what_is_held_and_who_found_no_room(held: Held, limit: Limit) -> None:
    """Looking is not counted, and neither is who was there before."""
    for number in (0, 1, 2, 3, 0):
        held.take(charge(limit, who=f"new-{number}", bounded=True))
    held.take(report(limit, who="new-4", bounded=True))
    assert held.store.figures() == {
        "store_families": 1,
        "store_counters": 3,
        "store_overflow_total": 3,
        "store_ids": 0,
        "store_ids_dropped_total": 0,
    }
