"""Token buckets, as the generic cell rate algorithm: `burst` at once, then `amount` per window.

State: (level, at). The level is what has been used and not yet refilled, in hits times the window's
length, so that it drains by exactly `amount` per microsecond: no fraction is ever rounded, a caller
at exactly the rate is never denied, and at most burst + ⌊T · amount / window⌋ hits pass in any time
T. The unit depends on the window only, so that a change of tier keeps what was used.
"""

from __future__ import annotations

from ratelimitd.model import NEVER, Limit, Standing, make_standing

State = tuple[int, int]
EMPTY: State = (0, 0)
"""The state of a bucket that nobody used."""


def level(limit: Limit, state: State, now: int) -> int:
    """Return the level at `now`, hits · window length."""
    left = state[0] - (now - state[1]) * limit.amount if now > state[1] else state[0]
    return left if left > 0 else 0


def judge(limit: Limit, state: State, need: int, now: int) -> Standing:
    """Say whether `need` more hits fit; `after` is what would then be used."""
    length = _length(limit)
    used = level(limit, state, now)
    wanted = used + need * length
    over = wanted - limit.burst * length
    before = -(-used // length)
    if over <= 0:
        return make_standing(
            (limit, True, before, -(-wanted // length), now, _drained(limit, wanted, now))
        )
    retry_at = NEVER if need > limit.burst else now - (-over // limit.amount)
    return make_standing((limit, False, before, before, retry_at, _drained(limit, used, now)))


def add(limit: Limit, state: State, hits: int, now: int) -> State:
    """Return the state after hits (negative: a refund). Debt is at most one window's amount."""
    length = _length(limit)
    ceiling = (limit.burst + limit.amount) * length
    return max(0, min(level(limit, state, now) + hits * length, ceiling)), now


def _drained(limit: Limit, used: int, now: int) -> int:
    """Return the first instant at which the bucket is full."""
    return now - (-used // limit.amount)


def _length(limit: Limit) -> int:
    assert limit.window is not None
    return limit.window.length_us


def lifetime(limit: Limit) -> int:
    """Return how long after its last hit a bucket can still be less than full, microseconds."""
    return -(-(limit.burst + limit.amount) * _length(limit) // limit.amount)
