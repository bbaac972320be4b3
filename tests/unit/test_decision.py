"""Which of several limits speaks for a call: the tightest, or the one with the longest wait."""

import pytest

from ratelimitd.decision import longest_wait, rank, tightest
from ratelimitd.model import NEVER, Limit, Standing
from tests.support.ops import HOURLY, MINUTELY, MONTHLY, TOKENS, bucket, fixed, leases


def used(limit: Limit, after: int) -> Standing:
    """Return how a limit stands with so much used."""
    return Standing(limit, passes=True, before=0, after=after, retry_at=0, reset_at=0)


def denied(limit: Limit, retry_at: int) -> Standing:
    """Return how a limit stands that denies until then."""
    return Standing(limit, passes=False, before=0, after=0, retry_at=retry_at, reset_at=0)


@pytest.mark.parametrize(
    ("loose", "tight"),
    [
        (used(fixed(10), 1), used(fixed(10), 2)),
        (used(fixed(1000), 900), used(fixed(10), 10)),
        (used(fixed(10), 5), used(fixed(1000), 600)),
        (used(fixed(3), 1), used(fixed(7), 3)),
        (used(fixed(10), 11), used(fixed(10), 12)),
        (used(fixed(1000), 1001), used(fixed(10), 11)),
        (used(fixed(2**53 - 1), 1), used(fixed(2**53 - 1), 2)),
        (used(bucket(1, burst=100), 50), used(fixed(10), 6)),
        (used(fixed(0), 0), used(fixed(0), 1)),
        (used(fixed(10), 1), used(fixed(0), 0)),
    ],
)
def test_the_tightest_has_the_least_left_of_what_it_had(loose: Standing, tight: Standing) -> None:
    """Remaining by amount, compared exactly; debt is tighter still; an amount of 0 has nothing."""
    assert tightest([loose, tight]) is tight
    assert tightest([tight, loose]) is tight


def test_of_equally_tight_limits_the_longest_window_speaks() -> None:
    """1 of 10 a minute and 10 of 100 an hour are alike; the hour matters longer."""
    minute, hour = used(fixed(10, MINUTELY), 1), used(fixed(100, HOURLY), 10)
    month, held = used(fixed(1000, MONTHLY), 100), used(leases(10), 1)
    assert tightest([minute, hour]) is hour
    assert tightest([hour, minute]) is hour
    assert tightest([held, month, hour, minute]) is month
    assert tightest([held, minute]) is minute


def test_of_equal_limits_the_first_speaks() -> None:
    """The choice does not flicker."""
    one, other = used(fixed(10), 1), used(fixed(10), 1)
    assert tightest([one, other]) is one


@pytest.mark.parametrize("order", [1, -1])
def test_the_longest_wait_is_the_last_retry_and_never_is_last_of_all(order: int) -> None:
    """A caller who waits for it waits for all of them."""
    soon, late, never = denied(fixed(1), 10), denied(fixed(1), 20), denied(fixed(1), NEVER)
    assert longest_wait([soon, late][::order]) is late
    assert longest_wait([soon, late, never][::order]) is never


def test_of_equal_waits_the_longest_window_speaks() -> None:
    """At the turn of an hour minutes turn too."""
    minute, hour = denied(fixed(1, MINUTELY), 10), denied(fixed(1, HOURLY), 10)
    assert longest_wait([minute, hour]) is hour
    assert longest_wait([hour, minute]) is hour
    assert longest_wait([denied(leases(1), NEVER), denied(fixed(1), NEVER)]).limit.window == HOURLY


def test_prepaid_comes_before_postpaid_before_leases() -> None:
    """The order in which meters may be shown."""
    assert rank(fixed(1)) < rank(fixed(1, meter=TOKENS)) < rank(leases(1))
