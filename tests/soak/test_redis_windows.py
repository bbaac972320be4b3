"""A million random arrivals at each algorithm, beside a log of every one: how far from exact.

The decisions are the core's, which the script of Redis shares (tests/property).
"""

from __future__ import annotations

import random
from collections import deque
from typing import TYPE_CHECKING, Final

from ratelimitd.clock import ManualClock
from ratelimitd.stores.memory.counters import MemoryCounters
from tests.soak import report_redis
from tests.support.ops import MINUTE, MINUTELY, NEW_YEAR, bucket, charge, fixed, sliding
from tests.support.stores import at_once

if TYPE_CHECKING:
    from ratelimitd.model import Limit

ARRIVALS: Final = 1_000_000
FEWER: Final = 200_000
AMOUNT: Final = 100
SEED: Final = 5


def against_a_log(limit: Limit, arrivals: int) -> tuple[float, float]:
    """Return the part of decisions that a log would make otherwise, and the most per window.

    The log has what this very limit let pass, so that one wrong decision is not counted again.
    Arrivals come at three paces in turn: half of what may pass, just that, and three times as much.
    """
    clock, chance = ManualClock(NEW_YEAR), random.Random(SEED)
    store, call = MemoryCounters(clock), (charge(limit),)
    passed: deque[int] = deque()
    wrong = most = 0
    for number in range(arrivals):
        pace = (0.5, 1.0, 3.0)[number // 1_000 % 3]
        clock.advance(1 + int(chance.expovariate(pace * AMOUNT / MINUTE)))
        while passed and passed[0] <= clock.now - MINUTE:
            passed.popleft()
        decided = at_once(store.take(call)).passed
        wrong += decided != (len(passed) < AMOUNT)
        if decided:
            passed.append(clock.now)
        most = max(most, len(passed))
    return wrong / arrivals, most / AMOUNT


def test_sliding_windows_are_close_to_a_log() -> None:
    """Few decisions are others than a log's; no span of a window has twice the limit."""
    wrong, most = against_a_log(sliding(AMOUNT, MINUTELY), ARRIVALS)
    _, fixed_most = against_a_log(fixed(AMOUNT, MINUTELY), FEWER)
    _, bucket_most = against_a_log(bucket(AMOUNT, MINUTELY, burst=AMOUNT), FEWER)
    assert wrong < 0.3
    assert most < 1.5
    assert fixed_most <= 2
    assert bucket_most <= 2
    report_redis.rows[10] = (
        f"{wrong:.2%} of {ARRIVALS:,} decided otherwise, at 0.5, 1 and 3 times the limit's rate; "
        f"at most {most:.2f} times the limit in a window's span"
    )
    report_redis.rows[11] = (
        f"sliding window {most:.2f}, token bucket {bucket_most:.2f}, fixed window {fixed_most:.2f}"
    )
