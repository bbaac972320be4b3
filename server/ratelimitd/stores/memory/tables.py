"""Where the memory store keeps counts: one table per counter family, by algorithm.

A table knows the state of each counter, when states end, and how many counters callers may invent.
The arithmetic is `algorithms/`; atomicity over several tables is the store's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ratelimitd.algorithms import fixed_window, lease, sliding_window, token_bucket
from ratelimitd.model import Algorithm, Counter, Kind, Limit, Op, Span, Standing
from ratelimitd.stores.memory.aging import Aging

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

OVERFLOW = b"~overflow"
"""The counter that newcomers share once a table holds as many invented counters as it may."""

Row = tuple[int, bytes, int, int]
"""A counter at rest: start of its window (0 without), key, and two numbers of its state."""


class Table(Protocol):
    """The counters of one family."""

    dirty: set[bytes] | None
    """Keys changed since somebody who writes them down last looked; None where nobody does."""

    def judge(self, counter: Counter, limit: Limit, need: int, now: int) -> Standing:
        """Say whether `need` hits fit the counter. Changes nothing."""
        ...

    def add(self, op: Op, hits: int, now: int) -> None:
        """Count hits (negative: give back), or for leases: grant or release the operation's."""
        ...

    def rows(self, keys: Iterable[bytes], now: int) -> Iterator[Row]:
        """Yield the states of those keys that still matter."""
        ...

    def restore(self, rows: Iterable[Row], now: int) -> None:
        """Take in states at rest, leaving out what no longer matters."""
        ...

    def __len__(self) -> int:
        """How many counters live."""
        ...


class FixedTable:
    """Fixed windows: one page of counts, dropped whole when the window turns."""

    __slots__ = ("_end", "_room", "_start", "counts", "dirty", "strangers", "window")

    def __init__(self, limit: Limit, room: int) -> None:
        assert limit.window is not None
        self.window = limit.window
        self._start = self._end = 0
        self.counts: dict[bytes, int] = {}
        self.strangers = 0
        self.dirty: set[bytes] | None = None
        self._room = room

    def __len__(self) -> int:
        return len(self.counts)

    def _turn(self, now: int) -> None:
        self._start, self._end = self.window.span(now)
        self.counts = {}
        self.strangers = 0

    def judge(self, counter: Counter, limit: Limit, need: int, now: int) -> Standing:
        if now >= self._end:
            self._turn(now)
        used = self.counts.get(counter.key)
        if used is None:
            used = 0
            if counter.bounded and self.strangers >= self._room:
                used = self.counts.get(OVERFLOW, 0)
        return fixed_window.judge(limit, used, need, self._end, now)

    def add(self, op: Op, hits: int, now: int) -> None:
        if now >= self._end:
            self._turn(now)
        key = op.counter.key
        used = self.counts.get(key)
        if used is None:
            if op.counter.bounded:
                if self.strangers >= self._room:
                    key = OVERFLOW
                else:
                    self.strangers += 1
            used = self.counts.get(key, 0)
        self.counts[key] = fixed_window.add(used, hits)
        if self.dirty is not None:
            self.dirty.add(key)

    def rows(self, keys: Iterable[bytes], now: int) -> Iterator[Row]:
        if now >= self._end:
            return
        for key in keys:
            used = self.counts.get(key)
            if used is not None:
                yield self._start, key, used, 0

    def restore(self, rows: Iterable[Row], now: int) -> None:
        if now >= self._end:
            self._turn(now)
        for start, key, used, _ in rows:
            if start == self._start:
                self.counts[key] = used
        self.strangers = len(self.counts)


class SlidingTable(FixedTable):
    """Sliding windows: this window's page and the last one's."""

    __slots__ = ("previous",)

    def __init__(self, limit: Limit, room: int) -> None:
        super().__init__(limit, room)
        self.previous: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self.counts.keys() | self.previous.keys())

    def _turn(self, now: int) -> None:
        last, end = self.counts, self._end
        super()._turn(now)
        self.previous = last if self._start == end else {}

    def _find(self, counter: Counter, now: int) -> tuple[bytes, bool]:
        """Return the key that counts for a counter, and whether it is a newcomer's."""
        if now >= self._end:
            self._turn(now)
        key = counter.key
        if key in self.counts or key in self.previous:
            return key, False
        if counter.bounded and self.strangers >= self._room:
            return OVERFLOW, False
        return key, counter.bounded

    def judge(self, counter: Counter, limit: Limit, need: int, now: int) -> Standing:
        key, _ = self._find(counter, now)
        state = self.counts.get(key, 0), self.previous.get(key, 0)
        return sliding_window.judge(limit, state, need, Span(self._start, self._end), now)

    def add(self, op: Op, hits: int, now: int) -> None:
        key, newcomer = self._find(op.counter, now)
        self.strangers += newcomer
        state = self.counts.get(key, 0), self.previous.get(key, 0)
        self.counts[key] = sliding_window.add(state, hits, Span(self._start, self._end))[0]
        if self.dirty is not None:
            self.dirty.add(key)

    def rows(self, keys: Iterable[bytes], now: int) -> Iterator[Row]:
        if now >= self._end:
            self._turn(now)
        for key in keys:
            current, previous = self.counts.get(key, 0), self.previous.get(key, 0)
            if current or previous:
                yield self._start, key, current, previous

    def restore(self, rows: Iterable[Row], now: int) -> None:
        if now >= self._end:
            self._turn(now)
        for start, key, current, previous in rows:
            if start == self._start:
                self.counts[key], self.previous[key] = current, previous
            elif self.window.span(start).end == self._start:
                self.previous[key] = current
        self.strangers = len(self.counts)


class BucketTable:
    """Token buckets: a level and its instant; forgotten once a bucket must be full again."""

    __slots__ = ("_states", "dirty")

    def __init__(self, limit: Limit, room: int) -> None:
        del limit
        self._states: Aging[token_bucket.State] = Aging(room)
        self.dirty: set[bytes] | None = None

    def __len__(self) -> int:
        return len(self._states)

    def judge(self, counter: Counter, limit: Limit, need: int, now: int) -> Standing:
        key = self._states.find(counter, OVERFLOW)
        state = self._states.get(key) or token_bucket.EMPTY
        return token_bucket.judge(limit, state, need, now)

    def add(self, op: Op, hits: int, now: int) -> None:
        key = self._states.find(op.counter, OVERFLOW)
        state = self._states.get(key) or token_bucket.EMPTY
        self._states.age(now, token_bucket.lifetime(op.limit))
        self._states.put(key, token_bucket.add(op.limit, state, hits, now), op.counter.bounded)
        if self.dirty is not None:
            self.dirty.add(key)

    def rows(self, keys: Iterable[bytes], now: int) -> Iterator[Row]:
        del now
        for key in keys:
            state = self._states.get(key)
            if state is not None:
                yield 0, key, *state

    def restore(self, rows: Iterable[Row], now: int) -> None:
        del now
        for _, key, level, at in rows:
            self._states.put(key, (level, at), bounded=True)


class LeaseTable:
    """Leases: for each counter its held leases and when each expires."""

    __slots__ = ("_states", "dirty")

    def __init__(self, limit: Limit, room: int) -> None:
        del limit
        self._states: Aging[dict[str, int]] = Aging(room)
        self.dirty: set[bytes] | None = None

    def __len__(self) -> int:
        return len(self._states)

    def _held(self, key: bytes, now: int) -> dict[str, int]:
        held = self._states.get(key)
        if held is None:
            return {}
        for name in [name for name, expiry in held.items() if expiry <= now]:
            del held[name]
        return held

    def judge(self, counter: Counter, limit: Limit, need: int, now: int) -> Standing:
        held = self._held(self._states.find(counter, OVERFLOW), now)
        return lease.judge(limit, len(held), need, max(held.values(), default=now), now)

    def add(self, op: Op, hits: int, now: int) -> None:
        del hits
        key = self._states.find(op.counter, OVERFLOW)
        held = self._held(key, now)
        if op.kind == Kind.RELEASE:
            held.pop(op.lease, None)
        else:
            held[op.lease] = lease.expires_at(op.limit, now)
        self._states.age(now, op.limit.meter.lease_us)
        self._states.put(key, held, op.counter.bounded)

    def rows(self, keys: Iterable[bytes], now: int) -> Iterator[Row]:
        """Leases do not outlive the process that granted them: it also served their requests."""
        del keys, now
        return iter(())

    def restore(self, rows: Iterable[Row], now: int) -> None:
        del rows, now


TABLES: dict[Algorithm, Callable[[Limit, int], Table]] = {
    Algorithm.FIXED_WINDOW: FixedTable,
    Algorithm.SLIDING_WINDOW: SlidingTable,
    Algorithm.TOKEN_BUCKET: BucketTable,
    Algorithm.LEASE: LeaseTable,
}
"""The kind of table that an algorithm's counters live in."""
