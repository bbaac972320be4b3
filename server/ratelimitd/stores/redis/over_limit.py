"""Counters that are known to be full, so that a caller who goes on asking costs Redis nothing.

Per counter, only where not even one hit would fit; for `LIFETIME` at most, and never past the
instant at which one fits again. Never decides by a lease or a shadow limit, nor for a call that
tells what happened. A refund through this process undoes it at once, a raised limit too; one
through another process within `LIFETIME`. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ratelimitd.model import Algorithm, Kind
from ratelimitd.stores.redis.wire import read
from ratelimitd.stores.stacking import identity_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratelimitd.model import Op, Standing
    from ratelimitd.stores.redis.wire import Package

LIFETIME = 1_000_000
"""Microseconds. Other processes may give back what this one does not see."""
MOST = 16_384
"""Counters remembered; beyond, all are forgotten and learnt anew."""
_NOT_FULL = -1


class _Seen(NamedTuple):
    state: tuple[int, ...]
    until: int
    full: int
    """Full for every limit of at most this capacity; `_NOT_FULL`: it was only seen beside one."""


class OverLimit:
    """What denied calls saw."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, bytes], _Seen] = {}
        self.answered = 0
        """Calls denied without asking."""

    def answer(self, ops: Sequence[Op], package: Package, now: int) -> list[Standing] | None:
        """Return the standings of a call that is bound to be denied, or None: ask."""
        if not self._seen:
            return None
        full = False
        numbers: list[int] = []
        for index in package.order:
            op = ops[index]
            seen = self._seen.get(identity_of(op))
            if seen is None or op.kind > Kind.PEEK or now >= seen.until:
                return None
            full = full or (_may_deny(op) and op.limit.capacity <= seen.full)
            numbers += seen.state
        if not full:
            return None
        self.answered += 1
        return read(ops, package, numbers, now, passed=False)

    def learn(self, ops: Sequence[Op], package: Package, numbers: Sequence[int], now: int) -> None:
        """Remember what a denied call was judged on; calls that also told something are not."""
        if any(op.kind > Kind.PEEK for op in ops):
            return
        if len(self._seen) > MOST:
            self._seen.clear()
        at = 0
        rows = zip(package.order, package.readers, package.spans, strict=True)
        for index, reader, span in rows:
            op = ops[index]
            state = tuple(numbers[at : at + reader.judged])
            at += reader.judged
            until = min(now + LIFETIME, span.end)
            full = _NOT_FULL
            if _may_deny(op):
                one = reader.judge(op.limit, state, 1, now, span)
                if not one.passes and one.retry_at > now:
                    full, until = op.limit.capacity, min(until, one.retry_at)
            self._seen[identity_of(op)] = _Seen(state, until, full)

    def forget(self, ops: Sequence[Op], *, passed: bool) -> None:
        """Undo what is known of the counters that a call changed."""
        if self._seen:
            for op in ops:
                if passed or op.kind > Kind.PEEK:
                    self._seen.pop(identity_of(op), None)


def _may_deny(op: Op) -> bool:
    return not op.limit.shadow and op.limit.algorithm is not Algorithm.LEASE
