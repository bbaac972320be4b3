"""Counts of this process while the store is away: it goes on from what it last knew.

A `MemoryCounters` into which each counter is put as last known when it is first asked for. What is
counted here is not merged back: the bound is one amount per process and window, beyond what the
store counts. `forget` ends it. Leases that were granted here are remembered until they end, also
past `forget`: their ids carry a mark, so that nobody needs to remember who granted one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ratelimitd.model import Algorithm, Kind
from ratelimitd.stores.memory.counters import MemoryCounters
from ratelimitd.stores.stacking import identity_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratelimitd.clock import Clock
    from ratelimitd.model import Limit, Op
    from ratelimitd.stores.memory.table import Table
    from ratelimitd.stores.ports import Taken

ROOM = 100_000
"""Invented counters per family; and counters of which it is remembered that they were seeded, and
releases that they came."""
LOCAL = "local."
"""How the ids of leases begin that a process granted by itself."""

Identity = tuple[str, bytes]


class Standby:
    """Counters of one process and one outage after another."""

    def __init__(
        self,
        clock: Clock,
        mark: str,
        room: int = ROOM,
    ) -> None:
        """Count by the store's own clock, so that windows are the same.

        `mark` is this process's, unguessable.
        """
        self._clock = clock
        self._room = room
        self.mark = f"{LOCAL}{mark}."
        """How the ids of leases must begin that are granted here."""
        self._memory = MemoryCounters(clock, room)
        self._seeded: dict[Identity, int] = {}  # to the instant of what was known
        self._placeholders: dict[Identity, tuple[Op, int]] = {}
        self._freed: set[tuple[Identity, str]] = set()

    async def take(self, ops: Sequence[Op], lease: str = "") -> Taken:
        """See `Counters.take`. Never awaits."""
        for op in ops:
            if op.kind == Kind.RELEASE:
                self._free(op)
        taken = await self._memory.take(ops, lease=lease)
        pairs = zip(ops, taken.standings, strict=True)
        told = [each._replace(passes=True) if self._is_kept(op) else each for op, each in pairs]
        return taken._replace(standings=told)

    def _is_kept(self, op: Op) -> bool:
        """Say whether a renewal is of a lease that the store may well hold, and is told of later.

        Nobody can know; whoever holds one must not be told that it is lost because the store is.
        """
        if op.kind != Kind.RENEW or op.lease.startswith(LOCAL):
            return False
        return (identity_of(op), op.lease) not in self._freed

    def release(self, ops: Sequence[Op]) -> bool:
        """Give back those leases of the operations that were granted here; say whether any was."""
        now, given = self._clock(), False
        for op in ops:
            if op.kind == Kind.RELEASE and op.lease.startswith(self.mark):
                table = self._table(op)
                held = table.judge(op.counter, op.limit, 0, now).before
                table.add(op, 1, now)
                given = given or table.judge(op.counter, op.limit, 0, now).before < held
        return given

    def forget(self) -> None:
        """The store is back: forget everything but the leases granted here."""
        now = self._clock()
        for op, held in tuple(self._placeholders.values()):
            self._hold(op, held, 0, now)
        tables = self._memory.tables
        for family in [f for f, t in tables.items() if t.limit.algorithm is not Algorithm.LEASE]:
            del tables[family]
        self._memory.sweep(now)
        self._seeded.clear()
        self._placeholders.clear()
        self._freed.clear()

    @property
    def states(self) -> int:
        """How many counter states are held."""
        return self._memory.figures()["store_counters"]

    def _table(self, op: Op) -> Table:
        family = op.counter.family
        return self._memory.tables.get(family) or self._memory.open(family, op.limit)

    def seed(self, ops: Sequence[Op], known: Taken | None) -> None:
        """Raise counters to what was last known of them, once per news of each.

        `known`: how the operations' counters stood (`after` of each, at `now`), if anybody knows;
        other calls may have seen some of them earlier, or later.
        """
        if known is None:
            return
        now = self._clock()
        for op, standing in zip(ops, known.standings, strict=True):
            identity = identity_of(op)
            before = self._seeded.get(identity)
            if known.now <= before if before is not None else not standing.after:
                continue
            if before is not None or len(self._seeded) < self._room:
                self._seeded[identity] = known.now
            if op.limit.algorithm is Algorithm.LEASE:
                held = self._placeholders.get(identity, (op, 0))[1]
                self._hold(op, held, standing.after if standing.reset_at > now else 0, now)
                continue
            used = _aged(op.limit, standing.after, standing.reset_at, known.now, now)
            table = self._table(op)
            missing = used - table.judge(op.counter, op.limit, 0, now).before
            if missing > 0:
                table.add(op._replace(kind=Kind.REPORT), missing, now)

    def _hold(self, op: Op, held: int, wanted: int, now: int) -> None:
        """Have so many placeholders on a counter for leases that the store granted.

        They end with the lease time from now, later than what they stand for.
        """
        table, identity = self._table(op), identity_of(op)
        name = f"~{hash(identity)}~"  # apart from others that share an overflow counter
        for number in range(held, wanted):
            table.add(op._replace(kind=Kind.ACQUIRE, lease=f"{name}{number}"), 1, now)
        for number in range(wanted, held):
            table.add(op._replace(kind=Kind.RELEASE, lease=f"{name}{number}"), 1, now)
        self._placeholders[identity] = op, wanted

    def _free(self, op: Op) -> None:
        """Free the placeholder of a lease that the store granted, once however often it comes."""
        identity = identity_of(op)
        told, held = (identity, op.lease), self._placeholders.get(identity, (op, 0))[1]
        if not held or op.lease.startswith(LOCAL) or told in self._freed:
            return
        if len(self._freed) < self._room:  # else it is held until it ends by itself
            self._freed.add(told)
            self._hold(op, held, held - 1, self._clock())


def _aged(limit: Limit, used: int, reset_at: int, then: int, now: int) -> int:
    """Return how much of what was used at an instant still counts now, never too little."""
    window = limit.window
    assert window is not None
    if now >= reset_at:
        return 0
    if limit.algorithm is Algorithm.TOKEN_BUCKET:
        return max(0, used - max(0, now - then) * limit.amount // window.length_us)
    start, end = window.span(now)
    if limit.algorithm is Algorithm.SLIDING_WINDOW and then < start:
        return -(-used * (end - now) // (end - start))
    return used
