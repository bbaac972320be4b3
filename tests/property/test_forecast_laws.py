"""A history in a straight line is forecast exactly, and no forecast tells of the past."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ratelimitd.accounts.forecast import LEAST_HITS, Forecast, Seen, forecasts, probe
from ratelimitd.clock import ManualClock
from ratelimitd.model import Kind, Limit, Window
from ratelimitd.stores.memory.counters import MemoryCounters
from tests.support.ops import (
    DAY,
    HOURLY,
    MINUTELY,
    MONTHLY,
    NEW_YEAR,
    S,
    bucket,
    ceil,
    fixed,
    op,
    peek,
    report,
    sliding,
)
from tests.support.stores import at_once

WINDOWS = st.sampled_from([MINUTELY, HOURLY, MONTHLY, Window.lasting(90 * S)])
STARTS = st.integers(NEW_YEAR, NEW_YEAR + 400 * DAY)


@given(WINDOWS, STARTS, st.integers(1, 5_000), st.integers(1, 50), st.integers(1, 100))
def test_a_steady_caller_is_forecast_exactly(
    window: Window, at: int, amount: int, each: int, part: int
) -> None:
    """Who uses `each` in every hundredth of a window reaches the limit where the line does."""
    start, end = window.span(at)
    now, used = start + (end - start) * part // 100, each * part
    assume(now < end)
    (found,) = forecasts([Seen("test", fixed(amount, window), used)], now)
    if used < LEAST_HITS or part * 20 < 100:
        assert found == (Forecast(used, now) if used >= amount else None)
        return
    assert found is not None
    assert found.projected == each * 100
    assert found.exceeds == (each * 100 > amount or used == amount)
    if found.reached_at is not None:
        exact = start + Fraction((end - start) * amount, each * 100)
        assert found.reached_at == max(now, ceil(exact))


@given(
    st.sampled_from([MINUTELY, HOURLY]),
    st.integers(2, 500),
    st.integers(0, 500),
    st.integers(0, 500),
    st.integers(1, 999),
)
def test_a_sliding_window_goes_straight_to_what_one_window_holds(
    window: Window, amount: int, previous: int, current: int, part: int
) -> None:
    """From what is used to the present window's own pace, which the store's peek tells."""
    clock = ManualClock(NEW_YEAR)
    store, limit, length = MemoryCounters(clock), sliding(amount, window), window.length_us
    at_once(store.take([report(limit, previous)]))
    clock.advance(length + length * part // 1_000)
    at_once(store.take([report(limit, current)]))
    looks = [peek(limit), op(Kind.PEEK, limit, probe(limit))]
    bare, ahead = at_once(store.take(looks)).standings
    (found,) = forecasts([Seen("test", limit, bare.before, ahead)], clock.now)
    if part < 50 or current < LEAST_HITS:
        spent = bare.before >= amount
        assert found == (Forecast(bare.before, clock.now) if spent else None)
        return
    assert found is not None
    used, whole = bare.before, Fraction(current * 1_000, part)
    left = length - length * part // 1_000
    assert found.projected == whole // 1
    assert found.exceeds == (used >= amount or whole > amount)
    if found.reached_at is not None and used < amount:
        passed = found.reached_at - clock.now
        assert 0 <= passed <= left
        assert used + (whole - used) * passed / left >= amount
        assert used + (whole - used) * (passed - 1) / left < amount


KINDS = st.sampled_from([fixed, sliding])
LIMITS = st.one_of(
    st.builds(
        lambda make, amount, window: make(amount, window), KINDS, st.integers(0, 50), WINDOWS
    ).filter(lambda limit: limit.window is not MONTHLY or limit.fits()),
    st.builds(
        lambda amount, burst: bucket(amount, burst=burst), st.integers(1, 9), st.integers(1, 50)
    ),
)


@given(st.lists(st.tuples(LIMITS, st.integers(0, 60)), max_size=6), STARTS, st.integers(0, 10**7))
def test_no_forecast_is_of_the_past_or_of_nothing(
    given_limits: list[tuple[Limit, int]], at: int, later: int
) -> None:
    """Whatever was used of whatever limits, and whenever it is asked."""
    clock = ManualClock(at)
    store = MemoryCounters(clock)
    limits = list({limit.name: (limit, used) for limit, used in given_limits}.values())
    for limit, used in limits:
        at_once(store.take([report(limit, used)]))
    clock.advance(later)
    seen = []
    for limit, _ in limits:
        looks = [peek(limit), op(Kind.PEEK, limit, probe(limit) or 1)]
        bare, ahead = at_once(store.take(looks)).standings
        seen.append(Seen("test", limit, bare.before, ahead if probe(limit) else None))
    for each, found in zip(seen, forecasts(seen, clock.now), strict=True):
        if not each.used:
            assert found is None
        elif found is not None and found.reached_at is not None:
            assert found.reached_at >= clock.now


@pytest.mark.parametrize("limit", [sliding(1), sliding(0), fixed(9), bucket(1, burst=1)])
def test_only_sliding_windows_of_some_size_are_probed(limit: Limit) -> None:
    """Others have all that is needed in what is used."""
    assert probe(limit) == 0
