"""A naive model of the counts: a list of events, and the definitions of the design word by word.

Slow, without any state but what happened, in fractions; it shares no arithmetic with the product.
First instants are found by looking (bisection), not by solving.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import NamedTuple

from ratelimitd.model import NEVER, Algorithm, Kind, Limit, Op
from tests.support.ops import ceil

SECOND = 1_000_000


class Event(NamedTuple):
    """Hits that happened on one counter; negative: given back."""

    at: int
    hits: int


class Answer(NamedTuple):
    """What the model says of one operation; the fields of a `Standing`."""

    passes: bool
    before: int
    after: int
    retry_at: int
    reset_at: int


def _folded(events: Sequence[Event]) -> int:
    used = 0
    for event in events:
        used = max(0, used + event.hits)
    return used


def _length(limit: Limit) -> int:
    assert limit.window is not None
    assert limit.window.length_us
    return limit.window.length_us


Used = Callable[[int], Fraction]
"""What is used at an instant, if nothing happens until then."""


def _by_window(limit: Limit, events: Sequence[Event]) -> dict[int, int]:
    """Return what was used in each window that something happened in."""
    pages: dict[int, list[Event]] = {}
    for event in events:
        pages.setdefault(event.at // _length(limit), []).append(event)
    return {window: _folded(page) for window, page in pages.items()}


def _fixed(limit: Limit, events: Sequence[Event]) -> Used:
    pages = _by_window(limit, events)
    return lambda now: Fraction(pages.get(now // _length(limit), 0))


def _sliding(limit: Limit, events: Sequence[Event]) -> Used:
    pages, length = _by_window(limit, events), _length(limit)

    def used(now: int) -> Fraction:
        window, elapsed = divmod(now, length)
        weighed = Fraction(pages.get(window - 1, 0) * (length - elapsed), length)
        return Fraction(pages.get(window, 0) + ceil(weighed))

    return used


def _bucket(limit: Limit, events: Sequence[Event]) -> Used:
    rate = Fraction(limit.amount, _length(limit))
    level, last = Fraction(0), 0
    for event in events:
        level = max(Fraction(0), level - (event.at - last) * rate)
        level = max(Fraction(0), min(level + event.hits, Fraction(limit.burst + limit.amount)))
        last = event.at
    return lambda now: max(Fraction(0), level - (now - last) * rate)


USED: dict[Algorithm, Callable[[Limit, Sequence[Event]], Used]] = {
    Algorithm.FIXED_WINDOW: _fixed,
    Algorithm.SLIDING_WINDOW: _sliding,
    Algorithm.TOKEN_BUCKET: _bucket,
}


def first_instant(holds: Callable[[int], bool], since: int) -> int:
    """Return the first instant from `since` on at which something holds that then stays so."""
    step = 1
    while not holds(since + step - 1):
        step *= 2
    low, high = since, since + step - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


class Reference:
    """All counters, as what happened to them."""

    def __init__(self) -> None:
        self.events: dict[tuple[str, bytes], list[Event]] = {}
        self.held: dict[tuple[str, bytes], dict[str, int]] = {}

    def take(self, ops: Sequence[Op], now: int) -> tuple[bool, list[Answer]]:
        """Do the operations of one call, as `Counters.take` promises."""
        told = {i: self._tell(each, now) for i, each in enumerate(ops) if each.kind > Kind.PEEK}
        answers = [
            told.get(i) or self._judge(each, each.prior + each.hits, now)
            for i, each in enumerate(ops)
        ]
        passed = all(
            answer.passes or each.limit.shadow or each.kind > Kind.PEEK
            for each, answer in zip(ops, answers, strict=True)
        )
        for each, answer in zip(ops, answers, strict=True):
            if passed and answer.passes and each.kind <= Kind.ACQUIRE:
                self._apply(each, each.hits, now)
        for index, each in enumerate(ops):
            charged = passed and each.kind <= Kind.ACQUIRE
            if index not in told and answers[index].passes and not charged:
                answers[index] = self._look(each, now)
        return passed, answers

    def _tell(self, each: Op, now: int) -> Answer:
        before = self._look(each, now).before
        there = self._holds(each, now)
        if each.kind == Kind.REFUND:
            bucket = each.limit.algorithm is Algorithm.TOKEN_BUCKET
            self._apply(each, -each.hits, now if bucket else each.as_of or now)
        elif each.kind != Kind.RENEW or there:
            self._apply(each, each.hits, now)
        passes = there or each.kind != Kind.RENEW
        return self._look(each, now)._replace(passes=passes, before=before)

    def _holds(self, each: Op, now: int) -> bool:
        held = self.held.get((each.counter.family, each.counter.key), {})
        return held.get(each.lease, now) > now

    def _look(self, each: Op, now: int) -> Answer:
        bare = self._judge(each, 0, now)
        return Answer(True, bare.before, bare.before, now, bare.reset_at)

    def _apply(self, each: Op, hits: int, now: int) -> None:
        identity = (each.counter.family, each.counter.key)
        if each.limit.algorithm is not Algorithm.LEASE:
            self.events.setdefault(identity, []).append(Event(now, hits))
        elif each.kind in {Kind.ACQUIRE, Kind.RENEW}:
            self.held.setdefault(identity, {})[each.lease] = now + each.limit.meter.lease_us
        else:
            self.held.get(identity, {}).pop(each.lease, None)

    def _judge(self, each: Op, need: int, now: int) -> Answer:
        if each.limit.algorithm is Algorithm.LEASE:
            return self._judge_lease(each, need, now)
        limit = each.limit
        events = self.events.get((each.counter.family, each.counter.key), [])

        used_at = USED[limit.algorithm](limit, events)
        used = ceil(used_at(now))

        def fits(instant: int) -> bool:
            return used_at(instant) + need <= limit.capacity

        if fits(now):
            then = [*events, Event(now, need)] if need else events
            return Answer(True, used, used + need, now, self._whole(limit, then, now))
        retry = NEVER
        if need <= limit.capacity:
            retry = first_instant(fits, now)
        return Answer(False, used, used, retry, self._whole(limit, events, now))

    def _whole(self, limit: Limit, events: Sequence[Event], now: int) -> int:
        if limit.algorithm is Algorithm.FIXED_WINDOW:
            return (now // _length(limit) + 1) * _length(limit)
        used_at = USED[limit.algorithm](limit, events)
        return first_instant(lambda instant: used_at(instant) == 0, now)

    def _judge_lease(self, each: Op, need: int, now: int) -> Answer:
        held = self.held.get((each.counter.family, each.counter.key), {})
        ends = [expiry for expiry in held.values() if expiry > now]
        last = max([*ends, now])
        if len(ends) + need <= each.limit.amount:
            last = max(last, now + each.limit.meter.lease_us) if need else last
            return Answer(True, len(ends), len(ends) + need, now, last)
        retry = now + SECOND if need <= each.limit.amount else NEVER
        return Answer(False, len(ends), len(ends), retry, last)
