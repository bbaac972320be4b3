"""Sliding windows: this window's count, and the part of the last one that still weighs.

State: (hits in this window, hits in the previous). used = current + ⌈previous · (length - elapsed)
/ length⌉, where length and elapsed are those of the present window. Smooths the turn of a fixed
window for one more number.
"""

from __future__ import annotations

from ratelimitd.model import MAX_COUNT, NEVER, Limit, Span, Standing, make_standing

State = tuple[int, int]


def judge(limit: Limit, state: State, need: int, span: Span, now: int) -> Standing:
    """Say whether `need` more hits fit; `after` is what would then be used."""
    current, previous = state
    length = span.end - span.start
    weighed = -(-previous * (span.end - now) // length)
    used = current + weighed
    if used + need <= limit.amount:
        return make_standing(
            (limit, True, used, used + need, now, _whole(limit, state, need, span, now))
        )
    retry_at = NEVER if need > limit.amount else _retry(limit, state, need, span)
    return make_standing((limit, False, used, used, retry_at, _whole(limit, state, 0, span, now)))


def add(state: State, hits: int, span: Span) -> State:
    """Return the state after hits (negative: a refund of this window's), saturating."""
    ceiling = MAX_COUNT // (span.end - span.start)
    return max(0, min(state[0] + hits, ceiling)), state[1]


def _retry(limit: Limit, state: State, need: int, span: Span) -> int:
    current, previous = state
    room = limit.amount - need - current
    if room >= 0:
        return _fits_from(room, previous, span)
    assert limit.window is not None
    return _fits_from(limit.amount - need, current, limit.window.span(span.end))


def _fits_from(room: int, previous: int, span: Span) -> int:
    """Return the first instant of `span` at which the previous window weighs at most `room`."""
    if previous <= room:
        return span.start
    return span.end - room * (span.end - span.start) // previous


def _whole(limit: Limit, state: State, hits: int, span: Span, now: int) -> int:
    """Return when nothing is used any more: the end of the window after the last charge."""
    current, previous = state
    if current + hits:
        assert limit.window is not None
        return limit.window.span(span.end).end
    return span.end if previous else now
