"""Where the memory store keeps counts: one table per counter family, by algorithm.

A table knows the state of each counter, when states end, and how many counters callers may invent.
The arithmetic is `algorithms/`; atomicity over several tables is the store's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from ratelimitd.algorithms import lease, token_bucket
from ratelimitd.model import Algorithm, Counter, Kind, Limit, Op, Standing
from ratelimitd.stores.memory.aging import Aging
from ratelimitd.stores.memory.held import Held
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


class LeaseTable(AgingTable[Held]):
    """Leases: for each counter those that it holds."""

    __slots__ = ()

    def judge(self, counter: Counter, limit: Limit, need: int, now: int) -> Standing:
        held = self._states.get(self._states.find(counter))
        count, last = held.count(now) if held is not None else (0, now)
        return lease.judge(limit, count, need, last, now)

    def holder(self, op: Op, now: int) -> bytes | None:
        """Return the key under which the operation's lease is held: its own, or the shared one."""
        counter = op.counter
        for key in (counter.key, counter.overflow) if counter.bounded else (counter.key,):
            held = self._states.get(key)
            if held is not None and held.holds(op.lease, now):
                return key
        return None

    def add(self, op: Op, hits: int, now: int) -> None:
        del hits
        key = self._states.find(op.counter)
        if op.kind > Kind.PEEK:
            holder = self.holder(op, now)
            if holder is None:
                return
            key = holder
        held = self._states.get(key) or Held()
        if op.kind == Kind.RELEASE:
            held.free(op.lease)
            return
        held.hold(op.lease, op.limit.meter.lease_us, lease.expires_at(op.limit, now))
        self._states.age(now, op.limit.meter.lease_us)
        self._states.put(key, held, op.counter.bounded and key is not op.counter.overflow)

    def take_back(self, op: Op, now: int) -> None:
        self.add(op._replace(kind=Kind.RELEASE), op.hits, now)

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
