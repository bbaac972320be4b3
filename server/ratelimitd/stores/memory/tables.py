"""Where the memory store keeps counts: one table per counter family, by algorithm.

A table knows the state of each counter, when states end, and how many counters callers may invent.
The arithmetic is `algorithms/`; atomicity over several tables is the store's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from ratelimitd.algorithms import lease, token_bucket
from ratelimitd.model import Algorithm, Counter, Kind, Limit, Op, Standing
from ratelimitd.stores.memory.aging import Aging
from ratelimitd.stores.memory.paged import FixedTable, SlidingTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ratelimitd.stores.memory.table import Row, Table

S = TypeVar("S")


class AgingTable(Generic[S]):
    """What tables share whose states are forgotten a lifetime after their last write."""

    __slots__ = ("_states", "dirty", "limit")

    def __init__(self, limit: Limit, room: int) -> None:
        self.limit = limit
        self._states: Aging[S] = Aging(room)
        self.dirty: set[bytes] | None = None

    def __len__(self) -> int:
        return len(self._states)

    @property
    def strangers(self) -> int:
        return self._states.strangers

    @property
    def states(self) -> int:
        return len(self._states)

    def is_over(self, now: int) -> bool:
        return self._states.is_over(now)

    def knows(self, key: bytes, now: int) -> bool:
        del now
        return self._states.get(key) is not None


class BucketTable(AgingTable[token_bucket.State]):
    """Token buckets: a level and its instant; forgotten once a bucket must be full again."""

    __slots__ = ()

    def judge(self, counter: Counter, limit: Limit, need: int, now: int) -> Standing:
        key = self._states.find(counter)
        state = self._states.get(key) or token_bucket.EMPTY
        return token_bucket.judge(limit, state, need, now)

    def add(self, op: Op, hits: int, now: int) -> None:
        key = self._states.find(op.counter)
        state = self._states.get(key)
        if state is None:
            if hits < 0:
                return
            state = token_bucket.EMPTY
        self._states.age(now, token_bucket.lifetime(op.limit))
        bounded = op.counter.bounded and key is not op.counter.overflow
        self._states.put(key, token_bucket.add(op.limit, state, hits, now), bounded)
        if self.dirty is not None:
            self.dirty.add(key)

    def rows(self, keys: Iterable[bytes], now: int) -> Iterator[Row]:
        del now
        for key in keys:
            state = self._states.get(key)
            if state is not None:
                yield 0, key, *state, state[1] + self._states.lifetime

    def restore(self, rows: Iterable[Row], now: int) -> None:
        self._states.age(now, 0)
        lifetime = 0
        for _, key, level, at, over in rows:
            lifetime = max(lifetime, over - at)
            self._states.put(key, (level, min(at, now)), bounded=True)
        self._states.age(now, lifetime)


class LeaseTable(AgingTable[dict[str, int]]):
    """Leases: for each counter its held leases and when each expires."""

    __slots__ = ()

    def _held(self, key: bytes, now: int) -> dict[str, int]:
        held = self._states.get(key)
        if held is None:
            return {}
        for name in [name for name, expiry in held.items() if expiry <= now]:
            del held[name]
        return held

    def judge(self, counter: Counter, limit: Limit, need: int, now: int) -> Standing:
        held = self._held(self._states.find(counter), now)
        return lease.judge(limit, len(held), need, max(held.values(), default=now), now)

    def add(self, op: Op, hits: int, now: int) -> None:
        del hits
        key = self._states.find(op.counter)
        held = self._held(key, now)
        if op.kind == Kind.RELEASE:
            if held.pop(op.lease, None) is None and op.counter.bounded:
                self._held(op.counter.overflow, now).pop(op.lease, None)
            return
        held[op.lease] = lease.expires_at(op.limit, now)
        self._states.age(now, op.limit.meter.lease_us)
        self._states.put(key, held, op.counter.bounded and key is not op.counter.overflow)

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
