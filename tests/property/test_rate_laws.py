"""How much passes at most, and who is never denied: the promise of each algorithm.

The calls are random; the laws are checked on the log of what passed, not on any state.
"""

from fractions import Fraction
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimitd.algorithms import fixed_window, sliding_window, token_bucket
from ratelimitd.clock import ManualClock
from ratelimitd.model import MAX_COUNT, Limit, Span, Window
from ratelimitd.stores.memory.counters import MemoryCounters
from tests.contract import plants
from tests.support.ops import (
    HOURLY,
    MINUTELY,
    MONTHLY,
    NEW_YEAR,
    SECONDLY,
    S,
    bucket,
    ceil,
    charge,
    fixed,
    sliding,
)
from tests.support.stores import at_once

LENGTHS = st.sampled_from([SECONDLY, MINUTELY, HOURLY, Window.lasting(7 * S)])
AMOUNTS = st.integers(1, 30)


class Passed(NamedTuple):
    """A charge that passed."""

    at: int
    hits: int


def log_of(limit: Limit, asked: list[tuple[Fraction, int]], start: int) -> list[Passed]:
    """Ask for hits, each after a part of the window's length; return what passed."""
    assert limit.window is not None
    clock = ManualClock(start)
    store = MemoryCounters(clock)
    log = []
    for part, hits in asked:
        clock.advance(int(part * limit.window.longest_us))
        if at_once(store.take([charge(limit, hits)])).passed:
            log.append(Passed(clock.now, hits))
    return log


PARTS = st.one_of(
    st.just(Fraction(0)),
    st.fractions(0, 2, max_denominator=1000),
    st.fractions(0, Fraction(1, 10), max_denominator=10_000),
)
CALLS = st.lists(st.tuples(PARTS, st.integers(1, 5)), max_size=60)
STARTS = st.integers(NEW_YEAR, NEW_YEAR + 7200 * S)


@given(AMOUNTS, st.sampled_from([SECONDLY, MINUTELY, HOURLY, MONTHLY]), CALLS, STARTS)
def test_a_fixed_window_never_passes_more_than_its_amount(
    amount: int, window: Window, asked: list[tuple[Fraction, int]], start: int
) -> None:
    """In no window of the clock or the calendar."""
    used: dict[Span, int] = {}
    for at, hits in log_of(fixed(amount, window), asked, start):
        span = window.span(at)
        used[span] = used.get(span, 0) + hits
    assert all(total <= amount for total in used.values())


def most_in_any_span(limit: Limit, log: list[Passed]) -> list[tuple[int, Fraction]]:
    """Return for every stretch of the log what passed in it, and what may."""
    assert limit.window is not None
    rate = Fraction(limit.amount, limit.window.length_us)
    found = []
    for first in range(len(log)):
        total = 0
        for at, hits in log[first:]:
            total += hits
            found.append((total, limit.burst + rate * (at - log[first].at)))
    return found


@given(AMOUNTS, LENGTHS, st.integers(1, 20), CALLS, STARTS)
def test_a_token_bucket_never_passes_more_than_burst_and_rate(
    amount: int, window: Window, burst: int, asked: list[tuple[Fraction, int]], start: int
) -> None:
    """At most burst + ⌊T · amount / window⌋ in any time T, wherever it begins."""
    limit = bucket(amount, window, burst=burst)
    for total, most in most_in_any_span(limit, log_of(limit, asked, start)):
        assert total <= most


@given(AMOUNTS, LENGTHS, CALLS, STARTS)
def test_a_sliding_window_passes_what_its_definition_says(
    amount: int, window: Window, asked: list[tuple[Fraction, int]], start: int
) -> None:
    """Used = current + ⌈previous · (window − elapsed) / window⌉, counted over the log."""
    clock = ManualClock(start)
    store = MemoryCounters(clock)
    length, log = window.length_us, list[Passed]()
    for part, hits in asked:
        clock.advance(int(part * length))
        number, elapsed = divmod(clock.now, length)
        current = sum(hits for at, hits in log if at // length == number)
        previous = sum(hits for at, hits in log if at // length == number - 1)
        used = current + ceil(Fraction(previous * (length - elapsed), length))
        taken = at_once(store.take([charge(sliding(amount, window), hits)]))
        assert taken.passed == (used + hits <= amount)
        assert taken.standings[0].before == used
        if taken.passed:
            log.append(Passed(clock.now, hits))


@given(st.integers(1, 1000), LENGTHS, st.integers(2, 5), STARTS, st.integers(2, 200))
def test_a_caller_at_exactly_the_rate_is_never_denied(
    amount: int, window: Window, burst: int, start: int, calls: int
) -> None:
    """7 a second, 3 an hour, 997 a minute: the n-th call at n · window / amount passes.

    Also when it comes on top of a burst that was used up, and however long it goes on.
    """
    limit = bucket(amount, window, burst=burst)
    clock = ManualClock(start)
    store = MemoryCounters(clock)
    at_once(store.take([charge(limit, burst)]))
    for number in range(1, calls):
        due = start + ceil(Fraction(number * window.length_us, amount))
        clock.advance(due - clock.now)
        assert at_once(store.take([charge(limit)])).passed


@given(st.integers(1, 1000), LENGTHS, STARTS, st.lists(st.integers(0, 3), max_size=100))
def test_a_caller_never_faster_than_the_rate_needs_no_burst(
    amount: int, window: Window, start: int, delays: list[int]
) -> None:
    """With a burst of 1 every gap counts: none shorter than window / amount, none denied."""
    limit = bucket(amount, window, burst=1)
    clock = ManualClock(start)
    store = MemoryCounters(clock)
    for delay in delays:
        assert at_once(store.take([charge(limit)])).passed
        clock.advance(ceil(Fraction(window.length_us, amount)) + delay)


COUNTS = st.integers(0, 50) | st.integers(0, MAX_COUNT)
NOW = NEW_YEAR + 23 * S


@given(st.integers(0, 40), COUNTS, COUNTS, st.integers(0, 60) | st.integers(0, 2**64))
def test_remaining_is_within_the_capacity(amount: int, used: int, previous: int, need: int) -> None:
    """Whatever the state and the question, 0 <= remaining <= capacity and after >= before."""
    span = MINUTELY.span(NOW)
    full = bucket(amount + 1, MINUTELY, burst=amount + 1)
    standings = [
        fixed_window.judge(fixed(amount, MINUTELY), used, need, span.end, NOW),
        sliding_window.judge(sliding(amount, MINUTELY), (used, previous), need, span, NOW),
        token_bucket.judge(full, (used, NOW - previous % NOW), need, NOW),
    ]
    for standing in standings:
        assert 0 <= standing.remaining <= standing.limit.capacity
        assert standing.after == standing.before + (need if standing.passes else 0)
        assert standing.after <= standing.limit.capacity or not standing.passes or not need
        assert standing.reset_at >= NOW


def test_the_laws_find_a_bucket_that_gives_one_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin: a bug planted into `judge` breaks the law of the bucket and of the window."""
    plants.allowing_one_too_many(monkeypatch)
    calls = [(Fraction(0), 1)] * 12
    limit = bucket(3, HOURLY, burst=3)
    laws = most_in_any_span(limit, log_of(limit, calls, NEW_YEAR))
    assert any(total > most for total, most in laws)
    assert sum(hits for _, hits in log_of(fixed(3), calls, NEW_YEAR)) > 3
