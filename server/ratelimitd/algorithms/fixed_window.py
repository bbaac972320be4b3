"""Fixed windows: a count that starts at nothing when its window begins.

State: hits used in the window (int). Exact, one number per counter. A caller may use a whole amount
at the end of one window and another at the start of the next. Debt is forgiven at the turn.
"""

from __future__ import annotations

from ratelimitd.model import MAX_COUNT, NEVER, Limit, Standing, make_standing


def judge(limit: Limit, used: int, need: int, end: int, now: int) -> Standing:
    """Say whether `need` more hits fit the window that ends at `end`; `after`: with them."""
    after = used + need
    if after <= limit.amount:
        return make_standing((limit, True, used, after, now, end))
    retry_at = end if need <= limit.amount else NEVER
    return make_standing((limit, False, used, used, retry_at, end))


def add(used: int, hits: int) -> int:
    """Return the state after hits (negative: a refund), saturating, never below 0."""
    total = used + hits
    if 0 <= total <= MAX_COUNT:
        return total
    return MAX_COUNT if total > 0 else 0
