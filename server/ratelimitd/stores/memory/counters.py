"""The memory store: counts in this process, exact because one call is decided at a time.

Runs `algorithms/` on its tables. Bounded: each family holds at most `room` counters that callers
can invent; beyond that newcomers share one. Durability is `stores/file.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ratelimitd.model import Counter, Kind, make_standing
from ratelimitd.stores.memory.leases import LeaseTable
from ratelimitd.stores.memory.remembered import Remembered
from ratelimitd.stores.memory.tables import TABLES
from ratelimitd.stores.ports import ID_LIFETIME, Holding, Taken, leased, make_taken
from ratelimitd.stores.stacking import stacked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratelimitd.clock import Clock
    from ratelimitd.model import Limit, Op, Standing
    from ratelimitd.stores.memory.table import Table

__all__ = ["DEFAULT_ROOM", "MemoryCounters"]

DEFAULT_ROOM = 1_000_000
"""Invented counters per family, not in all: how many families there are is the policy's to say, and
one that nobody uses any more is dropped. About 150 bytes each; one that held leases, about 800."""
SWEEP_EVERY = 60_000_000
"""Microseconds between two looks for tables that are over."""

_ACQUIRE = Kind.ACQUIRE
_PEEK = Kind.PEEK


class MemoryCounters:
    """`stores.ports.Store` in this process."""

    def __init__(
        self, clock: Clock, room: int = DEFAULT_ROOM, *, notes_changes: bool = False
    ) -> None:
        """Count by `clock`. `notes_changes`: each table keeps the keys that changed (`dirty`)."""
        self.clock = clock
        self._room = room
        self._notes_changes = notes_changes
        self.tables: dict[str, Table] = {}
        """Counter families that were opened and are not over, by name."""
        self.overflowed = 0
        """Operations of newcomers that found no room and counted on a shared counter."""
        self.ids = Remembered(notes_changes=notes_changes)
        """Of calls that say for how long they must not count twice."""
        self._sweep_at = 0

    async def start(self) -> None:
        """Nothing to open."""

    async def take(
        self, ops: Sequence[Op], request_id: bytes = b"", remember_us: int = 0, lease: str = ""
    ) -> Taken:
        """See `Counters.take`. Never awaits, so nothing comes in between, nor can it half fail."""
        now = self.clock()
        if now >= self._sweep_at:
            self.sweep(now)
        if request_id:
            return self._once(leased(ops, lease), request_id, remember_us, now)
        return self._decide(ops, now, lease)

    async def held(self, counter: Counter, most: int) -> Holding:
        """See `Store.held`."""
        table = self.tables.get(counter.family)
        if not isinstance(table, LeaseTable):
            return Holding(0, [])
        return table.held(counter, most, self.clock())

    def _once(self, ops: Sequence[Op], request_id: bytes, remember_us: int, now: int) -> Taken:
        """Decide; what a call of the same id has told is not told again."""
        if self.ids.knows(request_id, now):
            return self._decide([_told_before(op) for op in ops], now)._replace(repeated=True)
        if remember_us:
            self.ids.remember(request_id, now + max(remember_us, ID_LIFETIME), now)
        return self._decide(ops, now)

    def _decide(self, ops: Sequence[Op], now: int, lease: str = "", placed: bool = False) -> Taken:  # noqa: FBT001, FBT002 - hot
        tables = self.tables
        standings: list[Standing] = []
        charges: list[tuple[Table, Op]] = []
        peeks: list[tuple[Table, int]] = []
        passed = True
        for op in ops:
            kind, counter, limit, hits, prior, _, _ = op
            table = tables.get(counter.family)
            if table is None:
                table = self.open(counter.family, limit)
            if kind > _PEEK:
                return self._tell_first(ops, now, lease)
            if (
                counter.bounded
                and not placed
                and table.strangers + len(ops) > self._room
                and not table.knows(counter.key, now)
            ):
                return self._decide(self._placed(ops, now), now, lease, True)
            standing = table.judge(counter, limit, prior + hits, now)
            if not standing[1]:
                passed = passed and limit.shadow
            elif kind <= _ACQUIRE:
                charges.append((table, op))
            else:
                peeks.append((table, len(standings)))
            standings.append(standing)
        if passed:
            for table, op in charges:
                table.charge(op, now, lease)
            for table, index in peeks:
                standings[index] = table.restate(ops[index], standings[index], now)
        else:
            standings = [
                tables[op.counter.family].restate(op, each, now) if each.passes else each
                for op, each in zip(ops, standings, strict=True)
            ]
        return make_taken((now, passed, standings, False))

    def _tell_first(self, ops: Sequence[Op], now: int, lease: str) -> Taken:
        """Do the reports, refunds and releases, then decide the rest on what they leave."""
        told = {index: self._tell(op, now) for index, op in enumerate(ops) if op.kind > _PEEK}
        _, passed, rest, _ = self._decide([op for op in ops if op.kind <= _PEEK], now, lease)
        asked = iter(rest)
        standings = [told.get(index) or next(asked) for index in range(len(ops))]
        return make_taken((now, passed, standings, False))

    def _tell(self, op: Op, now: int) -> Standing:
        table = self._table(op)
        if isinstance(table, LeaseTable):
            return _tell_of_lease(table, op, now)
        if op.kind == Kind.REPORT and op.counter.bounded and table.strangers >= self._room:
            self.overflowed += not table.knows(op.counter.key, now)
        before = table.judge(op.counter, op.limit, 0, now).before
        if op.kind == Kind.REFUND:
            table.take_back(op, now)
        else:
            table.add(op, op.hits, now)
        bare = table.judge(op.counter, op.limit, 0, now)
        return make_standing((op.limit, True, before, bare.before, now, bare.reset_at))

    def _placed(self, ops: Sequence[Op], now: int) -> tuple[Op, ...]:
        """Put each newcomer that finds no place on the counter that stands in for its own.

        Before judging, because newcomers of one call may take the last places, and because those
        that share a counter add up.
        """
        taken: dict[str, set[bytes]] = {}
        placed: list[Op] = []
        for op in ops:
            counter, table = op.counter, self._table(op)
            places = taken.setdefault(counter.family, set())
            if not counter.bounded or counter.key in places or table.knows(counter.key, now):
                placed.append(op)
            elif table.strangers + len(places) < self._room:
                if op.kind <= _ACQUIRE:
                    places.add(counter.key)
                placed.append(op)
            else:
                self.overflowed += op.kind <= _ACQUIRE
                shared = Counter(counter.family, counter.overflow, bounded=False)
                placed.append(op._replace(counter=shared))
        return stacked(placed)

    def _table(self, op: Op) -> Table:
        table = self.tables.get(op.counter.family)
        return self.open(op.counter.family, op.limit) if table is None else table

    def open(self, family: str, limit: Limit) -> Table:
        """Begin a family's table. Of the limit, only window and algorithm matter."""
        table = TABLES[limit.algorithm](limit, self._room)
        if self._notes_changes:
            table.dirty = set()
        self.tables[family] = table
        return table

    def clear(self) -> None:
        """Forget everything."""
        self.tables.clear()
        self.ids = Remembered(notes_changes=self._notes_changes)

    def sweep(self, now: int) -> None:
        """Drop the tables in which nothing matters any more, so that no family stays for ever.

        Every `SWEEP_EVERY`, and a family that is asked for again begins anew, as unused as it was.
        """
        self._sweep_at = now + SWEEP_EVERY
        self.ids.forget(now)
        over = [family for family, table in self.tables.items() if table.is_over(now)]
        for family in over:
            del self.tables[family]

    def figures(self) -> dict[str, int]:
        """See `Store.figures`."""
        return {
            "store_families": len(self.tables),
            "store_counters": sum(table.states for table in self.tables.values()),
            "store_overflow_total": self.overflowed,
            "store_ids": len(self.ids),
            "store_ids_dropped_total": self.ids.dropped,
        }

    async def close(self) -> None:
        """Nothing to write, nothing to let go of."""


def _told_before(op: Op) -> Op:
    """Return what is left of an operation that a call of the same id has done before."""
    if op.kind == Kind.REPORT or op.kind == Kind.REFUND:  # noqa: PLR1714 - no tuple for each
        return op._replace(kind=Kind.REFUND, hits=0)
    return op


def _tell_of_lease(table: LeaseTable, op: Op, now: int) -> Standing:
    """Release or renew, and tell how the counter stands where the lease is held."""
    counter, holder = op.counter, table.holder(op, now)
    if counter.bounded:
        counter = Counter(counter.family, holder or counter.key, bounded=False)
    before = table.judge(counter, op.limit, 0, now).before
    table.add(op, op.hits, now)
    bare = table.judge(counter, op.limit, 0, now)
    passes = holder is not None or op.kind != Kind.RENEW
    return make_standing((op.limit, passes, before, bare.before, now, bare.reset_at))
