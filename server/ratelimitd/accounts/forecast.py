"""Forecasts: whether the present pace ends above a limit, and when it would be reached. Pure.

The pace is what was used since the window began, over the time since then; if it goes on, a count
grows in a straight line. Nothing is said before a `LEAST_PART` of the window has passed, of fewer
than `LEAST_HITS` (one request is no pace), and of what nobody used. That a limit is used up is said
at once.

- Fixed and calendar windows: the line from the window's begin to its end.
- Sliding windows: the present window's own count is the pace. At its end, what is used is what one
  window holds at that pace, and it stays there; until then it moves there in a straight line.
- Token buckets keep no past. Their pace is that of the shortest window that counts the same hits
  (`requests` beside `requests`, with equal `when` and `per`), and empties them where it is faster
  than the refill. Alone they have no forecast.
- Leases are held, not used up: none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ratelimitd.model import MAX_COUNT, Algorithm, Limit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratelimitd.model import Standing
    from ratelimitd.windows import Span

LEAST_PART = 20
"""A twentieth of the window: three minutes of an hour, a day and a half of a month."""
LEAST_HITS = 2


class Forecast(NamedTuple):
    """What comes of a limit if its key goes on as it does."""

    projected: int
    """Hits of one whole window at this pace, rounded down; a fixed window's count at its end. What
    was used up before there is a pace: as much as was used."""
    reached_at: int | None
    """First instant at which the limit is used up, microseconds; the present one where it is so
    already. None: this pace stays within it."""

    @property
    def exceeds(self) -> bool:
        """Whether this pace ends above the limit."""
        return self.reached_at is not None


class Seen(NamedTuple):
    """How a limit of a key stands."""

    domain: str
    limit: Limit
    used: int
    ahead: Standing | None = None
    """What a peek of `probe(limit)` hits told, where there is one."""


class _Pace(NamedTuple):
    hits: int
    during: int
    """Microseconds."""

    def over(self, length: int) -> int:
        return min(self.hits * length // self.during, MAX_COUNT)


def probe(limit: Limit) -> int:
    """Return the hits of the peek that tells a sliding window's own count apart; 0: not needed.

    All but one of them fit again once all but one of the present window's have gone.
    """
    return max(limit.amount - 1, 0) if limit.algorithm is Algorithm.SLIDING_WINDOW else 0


def forecasts(seen: Sequence[Seen], now: int) -> list[Forecast | None]:
    """Return the forecast of each of a key's limits, in their order; None: nothing can be said."""
    paces = [_pace(each, now) for each in seen]
    beside: dict[object, tuple[int, _Pace]] = {}
    for each, pace in zip(seen, paces, strict=True):
        window = each.limit.window
        if pace is not None and window is not None:
            shortest = beside.get(_counted(each))
            if shortest is None or window.longest_us < shortest[0]:
                beside[_counted(each)] = window.longest_us, pace
    return [
        _bucket(each, beside[_counted(each)][1], now)
        if each.limit.algorithm is Algorithm.TOKEN_BUCKET and _counted(each) in beside
        else _line(each, pace, now)
        for each, pace in zip(seen, paces, strict=True)
    ]


def _counted(seen: Seen) -> object:
    """Return what tells which hits a limit counts."""
    limit = seen.limit
    return seen.domain, limit.meter, limit.when, limit.per


def _pace(seen: Seen, now: int) -> _Pace | None:
    """Return what a window's own count tells of the pace."""
    if seen.limit.window is None or seen.limit.algorithm is Algorithm.TOKEN_BUCKET:
        return None
    start, end = seen.limit.window.span(now)
    sliding = seen.limit.algorithm is Algorithm.SLIDING_WINDOW
    hits = _present(seen, seen.limit.window.span(end)) if sliding else seen.used
    if hits < LEAST_HITS or (now - start) * LEAST_PART < end - start:
        return None
    return _Pace(hits, now - start)


def _present(seen: Seen, after: Span) -> int:
    """Return the hits of a sliding window's present window, before `after`; 0: at most one.

    Exact up to a rounding of one part in (microseconds of the window / hits).
    """
    ahead = seen.ahead
    if ahead is None or ahead.passes or not after.start < ahead.retry_at < after.end:
        return 0
    return min((after.end - after.start) // (after.end - ahead.retry_at), seen.used)


def _line(seen: Seen, pace: _Pace | None, now: int) -> Forecast | None:
    limit, used = seen.limit, seen.used
    if limit.window is None or limit.algorithm is Algorithm.TOKEN_BUCKET or not used:
        return None
    start, end = limit.window.span(now)
    length, room = end - start, limit.amount - used
    projected = used if pace is None else pace.over(length)
    if room <= 0:
        return Forecast(projected, now)
    if pace is None:
        return None
    above = pace.hits * length - limit.amount * pace.during
    if above <= 0:
        return Forecast(projected, None)
    if limit.algorithm is Algorithm.FIXED_WINDOW:
        return Forecast(projected, now - (-room * pace.during // pace.hits))
    to_go = above + room * pace.during  # what is used moves by as much until the end
    return Forecast(projected, now - (-room * pace.during * (end - now) // to_go))


def _bucket(seen: Seen, pace: _Pace, now: int) -> Forecast | None:
    limit, used = seen.limit, seen.used
    assert limit.window is not None
    if not used:
        return None
    length = limit.window.length_us
    projected, room = pace.over(length), limit.burst - used
    if room <= 0:
        return Forecast(projected, now)
    faster = pace.hits * length - limit.amount * pace.during
    if faster <= 0:
        return Forecast(projected, None)
    return Forecast(projected, now - (-room * pace.during * length // faster))
