"""What has happened but is not yet counted: reports, refunds and releases for a store that is away.

A bounded queue. Each call's operations keep the id that the store was given with them, so that
those which had run after all do not count twice; and the end of their window, so that none counts
in a later one. What is dropped is counted by reason. Who drains it, and when, is `failure`'s.
"""

from __future__ import annotations

import asyncio
from collections import Counter as Tally
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from ratelimitd.errors import StoreError, StoreNotAskedError
from ratelimitd.model import Algorithm, Kind
from ratelimitd.stores.ports import ID_LIFETIME

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ratelimitd.clock import Clock
    from ratelimitd.model import Op
    from ratelimitd.stores.ports import Counters

MOST_OPS = 10_000
"""Operations in the queue; some MB at most."""
AT_ONCE = 64
"""Calls that are replayed at a time."""

FULL = "full"
"""Dropped because the queue was full: the oldest go."""
WINDOW_OVER = "window_over"
"""Dropped because the window (or the lease) had ended: it would count in another."""
ID_FORGOTTEN = "id_forgotten"
"""Dropped because nobody knows whether it ran, and the store no longer knows its id."""
REASONS = (FULL, WINDOW_OVER, ID_FORGOTTEN)


class Item(NamedTuple):
    """What one call tells."""

    ops: tuple[Op, ...]
    ends: tuple[int, ...]
    """First instant at which each no longer means anything."""
    request_id: bytes
    tried_at: int | None
    """When it may first have run; None: it certainly has not."""
    remember_us: int = 0
    """How long its id is remembered, as `Counters.take` is told."""


class Replay:
    """The queue of one store."""

    def __init__(
        self,
        counters: Counters,
        clock: Clock,
        on_drop: Callable[[str, int], None],
        most: int = MOST_OPS,
    ) -> None:
        """Queue for `counters`, which count by `clock`; `on_drop` is told why and how many."""
        self._counters = counters
        self._clock = clock
        self._on_drop = on_drop
        self._most = most
        self._items: deque[Item] = deque()
        self._draining = asyncio.Lock()
        self.waiting = 0
        """Operations in the queue."""
        self.replayed = 0
        """Operations that were replayed."""
        self.dropped: Tally[str] = Tally()
        """Operations that were given up, by reason."""

    def __len__(self) -> int:
        return len(self._items)

    def add(
        self, ops: Sequence[Op], request_id: bytes, *, sent: bool, remember_us: int = 0
    ) -> None:
        """Queue operations (reports, refunds, releases). `sent`: they may have run."""
        if not ops:
            return
        now = self._clock()
        ends = tuple(_end(op, now) for op in ops)
        self._append(Item(tuple(ops), ends, request_id, now if sent else None, remember_us))

    def _append(self, item: Item) -> None:
        self._items.append(item)
        self.waiting += len(item.ops)
        while self.waiting > self._most:
            oldest = self._items.popleft()
            self.waiting -= len(oldest.ops)
            self._drop(FULL, len(oldest.ops))

    def _drop(self, reason: str, count: int) -> None:
        self.dropped[reason] += count
        self._on_drop(reason, count)

    async def drain(self) -> None:
        """Send what is queued, each once at most; what fails is queued again.

        Ends early where all of a batch failed: the store is away again.
        """
        async with self._draining:
            await self._drain()

    async def _drain(self) -> None:
        left = len(self._items)
        while left > 0 and self._items:
            batch = [self._items.popleft() for _ in range(min(AT_ONCE, left, len(self._items)))]
            left -= len(batch)
            self.waiting -= sum(len(item.ops) for item in batch)
            try:
                again = await self._send(batch)
            except BaseException:  # cancelled: who knows what ran
                self._put_back([item._replace(tried_at=self._tried(item)) for item in batch])
                raise
            for item in again:
                self._append(item)
            if len(again) == len(batch):
                return

    async def _send(self, batch: Sequence[Item]) -> list[Item]:
        """Send some calls at once, and return those that failed, in their order."""
        now = self._clock()
        items = [item for item in (self._due(item, now) for item in batch) if item is not None]
        takes = (self._counters.take(item.ops, item.request_id, item.remember_us) for item in items)
        again = []
        results = await asyncio.gather(*takes, return_exceptions=True)
        for item, result in zip(items, results, strict=True):
            if isinstance(result, StoreNotAskedError):
                again.append(item)
            elif isinstance(result, StoreError):
                again.append(item._replace(tried_at=now if item.tried_at is None else item[3]))
            elif isinstance(result, BaseException):
                raise result
            else:
                self.replayed += len(item.ops)
        return again

    def _put_back(self, batch: Sequence[Item]) -> None:
        for item in batch:
            self._append(item)

    def _tried(self, item: Item) -> int:
        return self._clock() if item.tried_at is None else item.tried_at

    def _due(self, item: Item, now: int) -> Item | None:
        """Return what of a call may still be sent; drop the rest."""
        due = [pair for pair in zip(item.ops, item.ends, strict=True) if now < pair[1]]
        if len(due) < len(item.ops):
            self._drop(WINDOW_OVER, len(item.ops) - len(due))
        if item.tried_at is not None and now >= item.tried_at + max(item.remember_us, ID_LIFETIME):
            stale = [pair for pair in due if pair[0].kind != Kind.RELEASE]
            due = [pair for pair in due if pair[0].kind == Kind.RELEASE]
            if stale:
                self._drop(ID_FORGOTTEN, len(stale))
        if not due:
            return None
        ops, ends = zip(*due, strict=True)
        return item._replace(ops=ops, ends=ends)


def _end(op: Op, now: int) -> int:
    """Return the first instant at which an operation of now has nothing to say any more."""
    limit = op.limit
    if op.kind == Kind.RELEASE or limit.window is None:
        return now + limit.meter.lease_us
    if limit.algorithm is Algorithm.TOKEN_BUCKET:  # drained by then
        return now + -(-op.hits * limit.window.length_us // limit.amount)
    return limit.window.span(now).end
