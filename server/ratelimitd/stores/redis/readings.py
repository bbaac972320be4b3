"""The states that the script answers with, read by each algorithm's own arithmetic. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ratelimitd.algorithms import fixed_window, lease, sliding_window, token_bucket
from ratelimitd.model import Algorithm, Kind, Limit, Standing, make_standing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ratelimitd.model import Op
    from ratelimitd.windows import Span


class Reader(NamedTuple):
    """How one algorithm's states are read."""

    judged: int
    """Numbers in the state that an operation was judged on."""
    told: int
    """Numbers for an operation that tells what happened: the states before and after it, and for
    leases whether this one was held."""
    judge: Callable[[Limit, Sequence[int], int, int, Span], Standing]
    """(limit, state, need, now, window) to a standing."""
    add: Callable[[Limit, Sequence[int], int, int, Span], Sequence[int]]
    """(limit, state, hits, now, window) to the state after a charge."""

    def tell(self, op: Op, numbers: Sequence[int], now: int, span: Span) -> Standing:
        """Return the standing of an operation that tells what has happened."""
        limit = op.limit
        before = self.judge(limit, numbers, 0, now, span).before
        bare = self.judge(limit, numbers[self.judged :], 0, now, span)
        passes = op.kind != Kind.RENEW or numbers[-1] == 1
        return make_standing((limit, passes, before, bare.before, now, bare.reset_at))


def _fixed(limit: Limit, state: Sequence[int], need: int, now: int, span: Span) -> Standing:
    return fixed_window.judge(limit, state[0], need, span.end, now)


def _fixed_add(_: Limit, state: Sequence[int], hits: int, __: int, ___: Span) -> Sequence[int]:
    return (fixed_window.add(state[0], hits),)


def _sliding(limit: Limit, state: Sequence[int], need: int, now: int, span: Span) -> Standing:
    return sliding_window.judge(limit, (state[0], state[1]), need, span, now)


def _sliding_add(_: Limit, state: Sequence[int], hits: int, __: int, span: Span) -> Sequence[int]:
    return sliding_window.add((state[0], state[1]), hits, span)


def _bucket(limit: Limit, state: Sequence[int], need: int, now: int, _: Span) -> Standing:
    return token_bucket.judge(limit, (state[0], state[1]), need, now)


def _bucket_add(limit: Limit, state: Sequence[int], hits: int, now: int, _: Span) -> Sequence[int]:
    return token_bucket.add(limit, (state[0], state[1]), hits, now)


def _lease(limit: Limit, state: Sequence[int], need: int, now: int, _: Span) -> Standing:
    return lease.judge(limit, state[0], need, state[1], now)


def _lease_add(limit: Limit, state: Sequence[int], hits: int, now: int, _: Span) -> Sequence[int]:
    if not hits:
        return state
    return state[0] + 1, max(state[1], now + limit.meter.lease_us)


READERS = {
    Algorithm.FIXED_WINDOW: Reader(1, 2, _fixed, _fixed_add),
    Algorithm.SLIDING_WINDOW: Reader(2, 4, _sliding, _sliding_add),
    Algorithm.TOKEN_BUCKET: Reader(2, 4, _bucket, _bucket_add),
    Algorithm.LEASE: Reader(2, 5, _lease, _lease_add),
}
"""How the states of each algorithm are read."""
