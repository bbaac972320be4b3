"""What a table writes down of its counters, and what becomes of that at the next start."""

import pytest

from ratelimitd.clock import ManualClock
from ratelimitd.model import Limit
from ratelimitd.stores.memory.counters import MemoryCounters
from ratelimitd.stores.memory.table import Row, Table
from ratelimitd.stores.memory.tables import TABLES
from tests.support.ops import (
    DAY,
    HOUR,
    MONTHLY,
    NEW_YEAR,
    S,
    acquire,
    bucket,
    charge,
    counter,
    fixed,
    leases,
    sliding,
)
from tests.support.stores import at_once

KEY = b"caller"


def table(limit: Limit, *rows: Row, now: int = NEW_YEAR, room: int = 10) -> Table:
    """Return a table as it is after a start on those rows."""
    made = TABLES[limit.algorithm](limit, room)
    made.restore(rows, now)
    return made


def used(of: Table, limit: Limit, now: int) -> int:
    """Return what the caller has used."""
    return of.judge(counter(limit), limit, 0, now).before


@pytest.mark.parametrize(
    ("limit", "row"),
    [
        (fixed(10), (NEW_YEAR, KEY, 3, 0, NEW_YEAR + HOUR)),
        (fixed(10, MONTHLY), (NEW_YEAR, KEY, 3, 0, NEW_YEAR + 31 * DAY)),
        (sliding(10), (NEW_YEAR, KEY, 3, 0, NEW_YEAR + 2 * HOUR)),
        (bucket(1, burst=9), (0, KEY, 3 * S, NEW_YEAR + 5, NEW_YEAR + 5 + 10 * S)),
    ],
    ids=["fixed", "month", "sliding", "bucket"],
)
def test_a_row_says_until_when_it_matters(limit: Limit, row: Row) -> None:
    """A fixed window ends; a sliding one weighs for one more; a bucket drains."""
    changed = table(limit)
    changed.add(charge(limit), 3, NEW_YEAR + 5)
    assert list(changed.rows([KEY, b"nobody"], NEW_YEAR + 5)) == [row]


def test_a_window_that_turned_has_no_rows() -> None:
    """Changes noted before the turn need not be written after it."""
    limit = fixed(10)
    changed = table(limit)
    changed.add(charge(limit), 3, NEW_YEAR)
    assert list(changed.rows([KEY], NEW_YEAR + HOUR)) == []


def test_changes_are_noted_only_where_somebody_asked() -> None:
    """The memory store alone pays nothing for durability."""
    for notes, expected in ((False, None), (True, {KEY})):
        memory = MemoryCounters(ManualClock(NEW_YEAR), notes_changes=notes)
        at_once(memory.take([charge(fixed(10))]))
        assert [each.dirty for each in memory.tables.values()] == [expected]


def test_what_is_only_looked_at_is_no_change() -> None:
    """A denied call writes nothing."""
    memory = MemoryCounters(ManualClock(NEW_YEAR), notes_changes=True)
    at_once(memory.take([charge(fixed(1), 2)]))
    assert [each.dirty for each in memory.tables.values()] == [set()]


def test_a_lease_is_a_row_of_its_own_until_it_ends() -> None:
    """With its end and its lifetime; one that is not held any more has ended long ago."""
    limit = leases(2)
    held = table(limit)
    held.dirty = set()
    for name in ("one", "two"):
        held.add(acquire(limit, name), 1, NEW_YEAR)
    names = sorted(held.dirty)
    life = limit.meter.lease_us
    assert [name[4:] for name in names] == [KEY + b"one", KEY + b"two"]
    assert list(held.rows(names, NEW_YEAR + life - 1)) == [
        (0, name, NEW_YEAR + life, life, NEW_YEAR + life) for name in names
    ]
    assert list(held.rows(names, NEW_YEAR + life)) == [(0, name, 0, 0, 0) for name in names]


def test_a_row_that_names_no_lease_is_refused() -> None:
    """A damaged file is set aside, and does not count for anybody."""
    with pytest.raises(ValueError, match="no lease"):
        table(leases(2), (0, b"\x00\x00\x00\xffshort", NEW_YEAR + 1, 1, NEW_YEAR + 1))


def test_an_amount_that_changed_keeps_what_was_used() -> None:
    """A row knows no amount: a larger tier begins where the smaller one ended."""
    small, large = bucket(1, burst=2), bucket(5, burst=10)
    before = table(small)
    before.add(charge(small), 2, NEW_YEAR)
    after = table(large, *before.rows([KEY], NEW_YEAR))
    assert used(after, large, NEW_YEAR) == 2


def test_the_last_window_still_weighs_after_a_start() -> None:
    """A sliding window that was written before its turn is the previous one after it."""
    limit = sliding(10)
    restored = table(
        limit, (NEW_YEAR, KEY, 8, 5, NEW_YEAR + 2 * HOUR), now=NEW_YEAR + HOUR + HOUR // 2
    )
    assert used(restored, limit, NEW_YEAR + HOUR + HOUR // 2) == 4


@pytest.mark.parametrize("limit", [fixed(10), sliding(10)], ids=["fixed", "sliding"])
def test_rows_of_windows_long_past_are_left_out(limit: Limit) -> None:
    """What is over is nobody's any more."""
    old = (NEW_YEAR - 5 * HOUR, KEY, 8, 5, NEW_YEAR - 3 * HOUR)
    assert len(table(limit, old)) == 0


def test_a_window_to_come_waits_for_its_time() -> None:
    """The host's clock went back between two runs: nothing is charged early, nothing forgotten."""
    limit = fixed(10)
    restored = table(limit, (NEW_YEAR + HOUR, KEY, 7, 0, NEW_YEAR + 2 * HOUR))
    restored.dirty = set()
    assert used(restored, limit, NEW_YEAR) == 0
    assert used(restored, limit, NEW_YEAR + HOUR) == 7
    assert restored.dirty == {KEY}, "it may have been overwritten meanwhile"
    assert used(restored, limit, NEW_YEAR + 2 * HOUR) == 0


def test_a_window_to_come_is_dropped_when_it_is_skipped() -> None:
    """A clock that then goes past it wants nothing of it."""
    limit = fixed(10)
    restored = table(limit, (NEW_YEAR + HOUR, KEY, 7, 0, NEW_YEAR + 2 * HOUR))
    assert used(restored, limit, NEW_YEAR + 5 * HOUR) == 0


def test_the_last_window_of_one_to_come_is_the_present_one() -> None:
    """A sliding row of the next window also tells what was used in this one."""
    limit = sliding(100)
    restored = table(limit, (NEW_YEAR + HOUR, KEY, 7, 5, NEW_YEAR + 3 * HOUR))
    assert used(restored, limit, NEW_YEAR) == 5
    assert used(restored, limit, NEW_YEAR + HOUR) == 12


def test_a_bucket_filled_in_the_future_drains_from_now() -> None:
    """A clock that went back a year must not lock anybody out for a year."""
    limit = bucket(1, burst=9)
    restored = table(limit, (0, KEY, 3 * S, NEW_YEAR + 365 * DAY, NEW_YEAR + 366 * DAY))
    assert used(restored, limit, NEW_YEAR) == 3
    assert used(restored, limit, NEW_YEAR + 2 * S) == 1


def test_restored_buckets_outlive_the_first_change() -> None:
    """A start is the beginning of a lifetime, not the end of one."""
    limit = bucket(1, burst=9)
    restored = table(limit, (0, KEY, 3 * S, NEW_YEAR, NEW_YEAR + 10 * S))
    restored.add(charge(limit, who="another"), 1, NEW_YEAR)
    assert used(restored, limit, NEW_YEAR) == 3


@pytest.mark.parametrize("limit", [fixed(10), sliding(10), bucket(1, burst=9)])
def test_restored_counters_count_as_invented(limit: Limit) -> None:
    """A start must not let callers invent as many counters once more."""
    first = table(limit)
    for who in ("a", "b", "c"):
        first.add(charge(limit, who=who, bounded=True), 1, NEW_YEAR)
    rows = tuple(first.rows([b"a", b"b", b"c"], NEW_YEAR))
    restored = table(limit, *rows, room=3)
    restored.add(charge(limit, who="d", bounded=True), 1, NEW_YEAR)
    restored.add(charge(limit, who="e", bounded=True), 1, NEW_YEAR)
    newcomer = counter(limit, "f", bounded=True)
    assert restored.judge(newcomer, limit, 0, NEW_YEAR).before == 2
