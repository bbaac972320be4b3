"""Leases: how many are held at once; each ends by release or by its own expiry.

State: the instants at which the held leases expire. Counting is the store's work; this is the
arithmetic on the count and on those instants.
"""

from __future__ import annotations

from ratelimitd.model import NEVER, Limit, Standing, make_standing

ADVISED_WAIT = 1_000_000
"""A denial's wait, microseconds: nobody knows when a running request ends."""


def judge(limit: Limit, held: int, need: int, last_expiry: int, now: int) -> Standing:
    """Say whether `need` more leases fit; whole when the last of those held has expired."""
    if held + need <= limit.amount:
        if need:
            ends = now + limit.meter.lease_us
            if ends > last_expiry:
                last_expiry = ends
        return make_standing((limit, True, held, held + need, now, last_expiry))
    retry_at = now + ADVISED_WAIT if need <= limit.amount else NEVER
    return make_standing((limit, False, held, held, retry_at, max(last_expiry, now)))
