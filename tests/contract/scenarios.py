"""Every algorithm as a table: what is asked at which time, and what comes of it.

Rows are run in their order on one counter, against every store; `at` and the waits are
microseconds. `NEVER` as a wait: no waiting helps. Passing operations wait 0.
"""

from typing import NamedTuple

from ratelimitd.model import NEVER, Kind, Limit
from tests.support.ops import HOURLY, MINUTELY, SECONDLY, S, bucket, fixed, leases, sliding

CHARGE, PEEK, REPORT, REFUND = Kind.CHARGE, Kind.PEEK, Kind.REPORT, Kind.REFUND
ACQUIRE, RELEASE = Kind.ACQUIRE, Kind.RELEASE


class Row(NamedTuple):
    """One operation and its result."""

    at: int
    kind: int
    hits: int
    passes: bool
    remaining: int
    retry_after: int
    reset_after: int
    lease: str = ""


class Scenario(NamedTuple):
    """A limit and its rows, from the beginning of a year on."""

    limit: Limit
    rows: tuple[Row, ...]


FIXED = Scenario(
    fixed(5, MINUTELY),
    (
        # An unused limit: the window's end is its reset all the same.
        Row(0, PEEK, 1, True, 5, 0, 60 * S),
        Row(0, PEEK, 5, True, 5, 0, 60 * S),
        Row(0, CHARGE, 1, True, 4, 0, 60 * S),
        Row(10 * S, CHARGE, 3, True, 1, 0, 50 * S),
        # A denial and a peek change nothing; what is too much for any window is never to fit.
        Row(10 * S, CHARGE, 2, False, 1, 50 * S, 50 * S),
        Row(10 * S, PEEK, 2, False, 1, 50 * S, 50 * S),
        Row(10 * S, CHARGE, 6, False, 1, NEVER, 50 * S),
        Row(10 * S, CHARGE, 1, True, 0, 0, 50 * S),
        # The turn: one microsecond before it, and at it.
        Row(60 * S - 1, CHARGE, 1, False, 0, 1, 1),
        Row(60 * S, CHARGE, 5, True, 0, 0, 60 * S),
        # Debt lasts until the turn, which forgives it.
        Row(70 * S, REPORT, 100, True, 0, 0, 50 * S),
        Row(70 * S, REFUND, 3, True, 0, 0, 50 * S),
        Row(120 * S - 1, CHARGE, 1, False, 0, 1, 1),
        Row(120 * S, CHARGE, 1, True, 4, 0, 60 * S),
        # Refunds, not below nothing used.
        Row(121 * S, REFUND, 1, True, 5, 0, 59 * S),
        Row(121 * S, REFUND, 9, True, 5, 0, 59 * S),
        Row(121 * S, CHARGE, 5, True, 0, 0, 59 * S),
        # What was used in an earlier window cannot be given back.
        Row(180 * S, REFUND, 5, True, 5, 0, 60 * S),
        Row(180 * S, CHARGE, 5, True, 0, 0, 60 * S),
        Row(180 * S, CHARGE, 1, False, 0, 60 * S, 60 * S),
        # A long silence.
        Row(60_000 * S + 1, PEEK, 5, True, 5, 0, 60 * S - 1),
    ),
)

SLIDING = Scenario(
    sliding(10, MINUTELY),
    (
        # Whole at once; once used, until the window after this one is over.
        Row(0, PEEK, 10, True, 10, 0, 0),
        Row(0, CHARGE, 6, True, 4, 0, 120 * S),
        Row(30 * S, CHARGE, 4, True, 0, 0, 90 * S),
        # Ten used in this window: in the next they weigh 9 after a tenth of it.
        Row(30 * S, CHARGE, 1, False, 0, 36 * S, 90 * S),
        Row(60 * S, CHARGE, 1, False, 0, 6 * S, 60 * S),
        Row(66 * S - 1, CHARGE, 1, False, 0, 1, 54 * S + 1),
        Row(66 * S, CHARGE, 1, True, 0, 0, 114 * S),
        # 10 weigh 5 at half time, and 1 is used: 4 are left.
        Row(90 * S, CHARGE, 4, True, 0, 0, 90 * S),
        Row(90 * S, CHARGE, 6, False, 0, 42 * S, 90 * S),
        Row(90 * S, CHARGE, 11, False, 0, NEVER, 90 * S),
        # 10 · 20/60 weigh 4, rounded up, with the 5 of this window.
        Row(100 * S, PEEK, 1, True, 1, 0, 80 * S),
        Row(100 * S, PEEK, 2, False, 1, 2 * S, 80 * S),
        # The turn changes nothing by itself: 5 weigh 5.
        Row(120 * S, CHARGE, 5, True, 0, 0, 120 * S),
        # Only what this window used can be given back.
        Row(120 * S, REFUND, 9, True, 5, 0, 60 * S),
        # Debt weighs on the next window.
        Row(130 * S, REPORT, 100, True, 0, 0, 110 * S),
        Row(130 * S, CHARGE, 1, False, 0, 104_600_000, 110 * S),
        Row(234_600_000 - 1, CHARGE, 1, False, 0, 1, 5_400_001),
        Row(234_600_000, CHARGE, 1, True, 0, 0, 65_400_000),
        # Forgotten when two windows have gone by.
        Row(299 * S, PEEK, 10, False, 9, 1 * S, 1 * S),
        Row(300 * S, PEEK, 10, True, 10, 0, 0),
        Row(400 * S, CHARGE, 10, True, 0, 0, 80 * S),
    ),
)

SEVEN_A_SECOND = Scenario(
    bucket(7, SECONDLY, burst=3),
    (
        # Full at once; 3 are refilled in 3/7 of a second, rounded up.
        Row(0, PEEK, 3, True, 3, 0, 0),
        Row(0, CHARGE, 3, True, 0, 0, 428_572),
        Row(0, CHARGE, 1, False, 0, 142_858, 428_572),
        Row(142_857, CHARGE, 1, False, 0, 1, 285_715),
        Row(142_858, CHARGE, 1, True, 0, 0, 428_571),
        # The 6/7 of a microsecond that came too much are kept: the next comes at 2/7, not later.
        Row(285_714, CHARGE, 1, False, 0, 1, 285_715),
        Row(285_715, CHARGE, 1, True, 0, 0, 428_571),
        # More than the burst never fits, though 7 a second do.
        Row(285_715, CHARGE, 4, False, 0, NEVER, 428_571),
        Row(1_285_715, PEEK, 3, True, 3, 0, 0),
        # Debt is at most one window's amount beyond the burst.
        Row(2 * S, REPORT, 100, True, 0, 0, 1_428_572),
        Row(2 * S, CHARGE, 1, False, 0, 1_142_858, 1_428_572),
        Row(2 * S + 1_142_857, CHARGE, 1, False, 0, 1, 285_715),
        Row(2 * S + 1_142_858, CHARGE, 1, True, 0, 0, 428_571),
        # Refunds, not below an unused bucket.
        Row(2 * S + 1_142_858, REFUND, 2, True, 2, 0, 142_857),
        Row(2 * S + 1_142_858, REFUND, 9, True, 3, 0, 0),
        Row(2 * S + 1_142_858, CHARGE, 3, True, 0, 0, 428_572),
    ),
)

THREE_AN_HOUR = Scenario(
    bucket(3, HOURLY, burst=1),
    (
        # One every twenty minutes, to the microsecond, across the turn of an hour.
        Row(0, CHARGE, 1, True, 0, 0, 1200 * S),
        Row(1200 * S - 1, CHARGE, 1, False, 0, 1, 1),
        Row(1200 * S, CHARGE, 1, True, 0, 0, 1200 * S),
        Row(2400 * S, CHARGE, 1, True, 0, 0, 1200 * S),
        Row(3600 * S, CHARGE, 1, True, 0, 0, 1200 * S),
        Row(3600 * S, CHARGE, 2, False, 0, NEVER, 1200 * S),
        # Nothing is saved up beyond the burst.
        Row(9999 * S, CHARGE, 1, True, 0, 0, 1200 * S),
        Row(9999 * S, CHARGE, 1, False, 0, 1200 * S, 1200 * S),
    ),
)

SEVEN_AN_HOUR = Scenario(
    bucket(7, HOURLY, burst=2),
    (
        # 514.285714… seconds each.
        Row(0, CHARGE, 2, True, 0, 0, 1_028_571_429),
        Row(0, CHARGE, 1, False, 0, 514_285_715, 1_028_571_429),
        Row(514_285_714, PEEK, 1, False, 0, 1, 514_285_715),
        Row(514_285_715, PEEK, 1, True, 1, 0, 514_285_714),
        Row(514_285_715, PEEK, 2, False, 1, 514_285_714, 514_285_714),
        Row(1_028_571_428, PEEK, 2, False, 1, 1, 1),
        Row(1_028_571_429, PEEK, 2, True, 2, 0, 0),
    ),
)

HELD = Scenario(
    leases(2),
    (
        # Two at once, each for fifteen minutes unless it is given back.
        Row(0, PEEK, 1, True, 2, 0, 0),
        Row(0, ACQUIRE, 1, True, 1, 0, 900 * S, "a"),
        Row(60 * S, ACQUIRE, 1, True, 0, 0, 900 * S, "b"),
        Row(60 * S, ACQUIRE, 1, False, 0, 1 * S, 900 * S, "c"),
        Row(60 * S, PEEK, 1, False, 0, 1 * S, 900 * S),
        # Given back by its own id only, and once.
        Row(60 * S, RELEASE, 1, True, 0, 0, 900 * S, "unheard-of"),
        Row(60 * S, RELEASE, 1, True, 1, 0, 900 * S, "a"),
        Row(60 * S, RELEASE, 1, True, 1, 0, 900 * S, "a"),
        Row(120 * S, ACQUIRE, 1, True, 0, 0, 900 * S, "c"),
        # It ends at its expiry, not a microsecond sooner.
        Row(960 * S - 1, ACQUIRE, 1, False, 0, 1 * S, 60 * S + 1, "d"),
        Row(960 * S, ACQUIRE, 1, True, 0, 0, 900 * S, "d"),
        Row(1020 * S, PEEK, 1, True, 1, 0, 840 * S),
        # Giving back what has expired is nothing.
        Row(1020 * S, RELEASE, 1, True, 1, 0, 840 * S, "b"),
        Row(1020 * S, RELEASE, 1, True, 2, 0, 0, "d"),
        # More than there are can never be held.
        Row(1020 * S, PEEK, 3, False, 2, NEVER, 0),
    ),
)

SCENARIOS: dict[str, tuple[Scenario, ...]] = {
    "fixed_window": (FIXED,),
    "sliding_window": (SLIDING,),
    "token_bucket": (SEVEN_A_SECOND, THREE_AN_HOUR, SEVEN_AN_HOUR),
    "lease": (HELD,),
}
"""By the algorithm's name, as policy files spell it."""
