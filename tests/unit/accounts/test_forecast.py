"""Forecasts: a straight line from what was used, and silence where there is none."""

from __future__ import annotations

import pytest

from ratelimitd.accounts.forecast import Forecast, Seen, forecasts, probe
from ratelimitd.clock import ManualClock
from ratelimitd.model import Kind, Limit
from ratelimitd.stores.memory.counters import MemoryCounters
from tests.support.ops import (
    DAY,
    HOUR,
    MINUTE,
    MINUTELY,
    MONTHLY,
    NEW_YEAR,
    TOKENS,
    S,
    bucket,
    fixed,
    leases,
    op,
    peek,
    report,
    sliding,
)
from tests.support.stores import at_once

HALF_PAST = NEW_YEAR + HOUR // 2


def one(limit: Limit, used: int, now: int) -> Forecast | None:
    """Forecast one limit that stands alone."""
    (found,) = forecasts([Seen("test", limit, used)], now)
    return found


@pytest.mark.parametrize(
    ("limit", "used", "now", "projected", "reached_at"),
    [
        (fixed(1_000), 750, HALF_PAST, 1_500, NEW_YEAR + 40 * MINUTE),
        (fixed(1_000), 500, HALF_PAST, 1_000, None),  # it ends at the limit, not above
        (fixed(1_000), 501, HALF_PAST, 1_002, HALF_PAST + 1_792_814_372),  # rounded up
        (fixed(1_000), 1_000, HALF_PAST, 2_000, HALF_PAST),
        (fixed(1_000), 1_700, HALF_PAST, 3_400, HALF_PAST),  # a debt
        (fixed(310, MONTHLY, TOKENS), 20, NEW_YEAR + 2 * DAY, 310, None),
        (fixed(310, MONTHLY, TOKENS), 62, NEW_YEAR + 2 * DAY, 961, NEW_YEAR + 10 * DAY),
    ],
)
def test_a_window_goes_on_as_it_began(
    limit: Limit, used: int, now: int, projected: int, reached_at: int | None
) -> None:
    """To its own end, which months have of their own, and never into the past."""
    assert one(limit, used, now) == Forecast(projected, reached_at)


@pytest.mark.parametrize(
    ("limit", "used", "now"),
    [
        (fixed(10), 0, HALF_PAST),
        (fixed(0), 0, HALF_PAST),
        (fixed(10), 1, HALF_PAST),  # one request is no pace
        (fixed(10), 9, NEW_YEAR),
        (fixed(10), 9, NEW_YEAR + 3 * MINUTE - 1),
        (fixed(10, MONTHLY), 9, NEW_YEAR + DAY),
        (leases(10), 9, HALF_PAST),
        (bucket(10, burst=20), 9, HALF_PAST),
        (sliding(10), 9, HALF_PAST),  # without a probe
    ],
)
def test_nothing_is_said_without_grounds(limit: Limit, used: int, now: int) -> None:
    """Of nothing, of too little, too early, of what is held, of what keeps no past."""
    assert one(limit, used, now) is None


@pytest.mark.parametrize("limit", [fixed(10), sliding(10), fixed(10, MONTHLY)])
def test_what_is_used_up_is_told_at_once(limit: Limit) -> None:
    """In the window's first instant; whoever looks at `exceeds` alone must not miss it."""
    assert one(limit, 10, NEW_YEAR) == Forecast(10, NEW_YEAR)
    assert one(limit, 12, NEW_YEAR + 1) == Forecast(12, NEW_YEAR + 1)
    assert one(limit, 9, NEW_YEAR) is None
    assert one(fixed(1), 1, NEW_YEAR) == Forecast(1, NEW_YEAR)


def test_it_speaks_from_a_twentieth_of_the_window_on() -> None:
    """Three minutes of an hour."""
    assert one(fixed(10), 2, NEW_YEAR + 3 * MINUTE) == Forecast(40, NEW_YEAR + 15 * MINUTE)


def test_a_bucket_has_the_pace_of_the_shortest_window_beside_it() -> None:
    """Its refill is taken off; at no faster a pace it never empties."""
    now = NEW_YEAR + 30 * MINUTE + 30 * S
    minute, hour, small = fixed(500, MINUTELY), fixed(9_000), bucket(1, burst=20)
    other = fixed(9_000, MINUTELY, TOKENS)

    def of(used: int, in_minute: int, level: int) -> Forecast | None:
        seen = [(hour, 3_000), (minute, in_minute), (small, level), (other, 900)]
        return forecasts([Seen("test", *each) for each in seen], now)[2]

    assert of(3_000, 90, 10) == Forecast(3, now + 5 * S)  # three a second, of which one refills
    assert of(3_000, 30, 10) == Forecast(1, None)
    assert of(3_000, 90, 20) == Forecast(3, now)
    assert of(3_000, 90, 0) is None
    assert of(3_000, 1, 10) == Forecast(1, now - (-10 * S * 1_830 // 1_170))
    elsewhere = [Seen("other", minute, 90), Seen("test", small, 10)]
    assert forecasts(elsewhere, now)[1] is None


def test_a_sliding_window_is_forecast_by_its_present_window() -> None:
    """What still weighs of the last one goes meanwhile; the store's own peek tells them apart."""
    clock = ManualClock(NEW_YEAR)
    store, limit = MemoryCounters(clock), sliding(100)
    at_once(store.take([report(limit, 40)]))
    clock.advance(HOUR + HOUR // 2)
    at_once(store.take([report(limit, 60)]))

    def ahead() -> Forecast | None:
        looks = [peek(limit), op(Kind.PEEK, limit, probe(limit))]
        bare, told = at_once(store.take(looks)).standings
        return forecasts([Seen("test", limit, bare.before, told)], clock.now)[0]

    # 60 of this window and half of 40: 80 now, 120 at its end half an hour later.
    assert ahead() == Forecast(120, NEW_YEAR + HOUR + 45 * MINUTE)
    clock.advance(15 * MINUTE)  # with nothing more: 60 in 45 minutes, 80 at the end
    assert ahead() == Forecast(80, None)
    clock.advance(HOUR // 2)  # of the next, of which nothing is used yet
    assert ahead() is None
