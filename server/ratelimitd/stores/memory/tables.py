"""Where the memory store keeps counts: one table per counter family, by algorithm.

A table knows the state of each counter, when states end, and how many counters callers may invent.
The arithmetic is `algorithms/`; atomicity over several tables is the store's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ratelimitd.algorithms import token_bucket
from ratelimitd.model import Algorithm, Counter, Limit, Op, Standing
from ratelimitd.stores.memory.aging import AgingTable
from ratelimitd.stores.memory.leases import LeaseTable
from ratelimitd.stores.memory.paged import FixedTable, SlidingTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ratelimitd.stores.memory.table import Row, Table


class BucketTable(AgingTable[token_bucket.State]):
    """Token buckets: a level and its instant; forgotten once a bucket must be full again."""

    __slots__ = ()

    def judge(self, counter: Counter, limit: Limit, need: int, now: int) -> Standing:
        key = self._states.find(counter)
        state = self._states.get(key) or token_bucket.EMPTY
        return token_bucket.judge(limit, state, need, now)

    def add(self, op: Op, hits: int, now: int) -> None:
        key = self._states.find(op.counter)
        state = self._states.get(key) or token_bucket.EMPTY
        self._states.age(now, token_bucket.lifetime(op.limit))
        bounded = op.counter.bounded and key is not op.counter.overflow
        self._states.put(key, token_bucket.add(op.limit, state, hits, now), bounded)
        if self.dirty is not None:
            self.dirty.add(key)

    def take_back(self, op: Op, now: int) -> None:
        if self._states.get(self._states.find(op.counter)) is not None:
            self.add(op, -op.hits, now)

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


TABLES: dict[Algorithm, Callable[[Limit, int], Table]] = {
    Algorithm.FIXED_WINDOW: FixedTable,
    Algorithm.SLIDING_WINDOW: SlidingTable,
    Algorithm.TOKEN_BUCKET: BucketTable,
    Algorithm.LEASE: LeaseTable,
}
"""The kind of table that an algorithm's counters live in."""
