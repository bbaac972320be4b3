"""The memory store: counts in this process, exact because one call is decided at a time.

Runs `algorithms/` on its tables. Bounded: each family holds at most `room` counters that callers
can invent; beyond that newcomers share one. Durability is `stores/file.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ratelimitd.model import Kind, make_standing
from ratelimitd.stores.memory.tables import TABLES
from ratelimitd.stores.ports import Taken, make_taken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratelimitd.clock import Clock
    from ratelimitd.model import Limit, Op, Standing
    from ratelimitd.stores.memory.table import Table

__all__ = ["DEFAULT_ROOM", "MemoryCounters"]

DEFAULT_ROOM = 1_000_000
"""Invented counters per family; about 150 bytes each."""

_ACQUIRE = Kind.ACQUIRE
_PEEK = Kind.PEEK


class MemoryCounters:
    """`stores.ports.Counters` in this process."""

    def __init__(
        self, clock: Clock, room: int = DEFAULT_ROOM, *, notes_changes: bool = False
    ) -> None:
        """Count by `clock`. `notes_changes`: each table keeps the keys that changed (`dirty`)."""
        self._clock = clock
        self._room = room
        self._notes_changes = notes_changes
        self.tables: dict[str, Table] = {}
        """Counter families that were opened, by name."""

    async def take(self, ops: Sequence[Op]) -> Taken:
        """See `Counters.take`. Never awaits, so nothing comes in between."""
        now = self._clock()
        tables = self.tables
        standings: list[Standing] = []
        passed = plain = True
        for kind, counter, limit, hits, prior, _ in ops:
            table = tables.get(counter.family)
            if table is None:
                table = self.open(counter.family, limit)
            if kind > _ACQUIRE:
                plain = False
            standing = table.judge(counter, limit, prior + hits, now)
            if not standing[1] and kind <= _PEEK and not limit.shadow:
                passed = False
            standings.append(standing)
        if passed:
            for op, standing in zip(ops, standings):  # noqa: B905 - of equal length, and hot
                if standing[1] and op[0] <= _ACQUIRE:
                    tables[op[1].family].add(op, op[3], now)
        if not (passed and plain):
            self._uncharge(ops, standings, now, passed=passed)
            self._always(ops, standings, now)
        return make_taken((now, passed, standings))

    def _uncharge(
        self, ops: Sequence[Op], standings: list[Standing], now: int, *, passed: bool
    ) -> None:
        """Restate peeks, and in a denied call all that would have passed, as not charged."""
        for index, op in enumerate(ops):
            judged = standings[index]
            if op.kind <= _PEEK and judged.passes and (op.kind == _PEEK or not passed):
                table = self.tables[op.counter.family]
                bare = table.judge(op.counter, op.limit, 0, now)
                standings[index] = make_standing(
                    (op.limit, True, bare.before, bare.before, judged.retry_at, bare.reset_at)
                )

    def _always(self, ops: Sequence[Op], standings: list[Standing], now: int) -> None:
        """Do the reports, refunds and releases."""
        for index, op in enumerate(ops):
            if op.kind <= _PEEK:
                continue
            table = self.tables[op.counter.family]
            before = table.judge(op.counter, op.limit, 0, now).before
            table.add(op, -op.hits if op.kind == Kind.REFUND else op.hits, now)
            bare = table.judge(op.counter, op.limit, 0, now)
            standings[index] = make_standing(
                (op.limit, True, before, bare.before, now, bare.reset_at)
            )

    def open(self, family: str, limit: Limit) -> Table:
        """Begin a family's table. Of the limit, only window and algorithm matter."""
        table = TABLES[limit.algorithm](limit, self._room)
        if self._notes_changes:
            table.dirty = set()
        self.tables[family] = table
        return table

    async def close(self) -> None:
        """Nothing to write, nothing to let go of."""
