"""Where the memory store keeps leases: the counters of one family, and what each holds.

The arithmetic is `algorithms/lease`; what one counter holds is `held`. At rest each lease is a row
of its own, so that a counter that holds many is not written anew for each that comes or goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ratelimitd.algorithms import lease as algorithm
from ratelimitd.model import Counter, Kind, Limit, Op, Standing, make_op
from ratelimitd.stores.memory.aging import AgingTable
from ratelimitd.stores.memory.held import Held
from ratelimitd.stores.ports import HeldLease, Holding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ratelimitd.stores.memory.table import Row

MOST_GONE: Final = 100_000
"""Changes that wait to be written down, beyond which it is no longer noted that a lease was
released (the file cannot be written): at a start it counts until it ends by itself."""
_SIZE: Final = 4  # bytes that say how long the counter's key is, before that and the lease's id


class LeaseTable(AgingTable[Held]):
    """Leases: for each counter those that it holds."""

    __slots__ = ("_fresh", "_fresh_in")

    def __init__(self, limit: Limit, room: int) -> None:
        super().__init__(limit, room)
        self._fresh: set[bytes] = set()
        """Leases granted since somebody who writes them down last looked: of those that are
        released before the next look nothing needs to be written."""
        self._fresh_in: set[bytes] | None = None
        """The `dirty` that they are in; the next one is another."""

    def judge(self, counter: Counter, limit: Limit, need: int, now: int) -> Standing:
        held = self._states.young.get(counter.key) or self._states.get(self._states.find(counter))
        if held is None:
            return algorithm.judge(limit, 0, need, now, now)
        if now >= held.until:  # `Held.count`, but faster
            held.let_go(now)
        size = held.size
        return algorithm.judge(limit, size, need, held.last if size else now, now)

    def holder(self, op: Op, now: int) -> bytes | None:
        """Return the key under which the operation's lease is held: its own, or the shared one."""
        counter = op.counter
        for key in (counter.key, counter.overflow) if counter.bounded else (counter.key,):
            held = self._states.get(key)
            if held is not None and held.holds(op.lease, now):
                return key
        return None

    def held(self, counter: Counter, most: int, now: int) -> Holding:
        """See `Store.held`."""
        held = self._states.get(counter.key)
        if held is None:
            return Holding(0, [])
        leases = [HeldLease(lease_id, ends) for ends, lease_id in held.first(most, now)]
        return Holding(held.count(now)[0], leases)

    def charge(self, op: Op, now: int, lease: str) -> None:
        kind, counter, limit, hits, prior, own, as_of = op
        states, lifetime = self._states, limit.meter.lease_us
        held = states.young.get(counter.key)
        if (
            held is None
            or now >= states.ages_at
            or self.dirty is not None
            or not held.extend(own or lease, lifetime, now + lifetime)
        ):
            named = make_op((kind, counter, limit, hits, prior, own or lease, as_of))
            self.add(named, 1, now)

    def add(self, op: Op, hits: int, now: int) -> None:
        del hits
        kind, counter, limit, _, _, name, _ = op
        states = self._states
        key = states.find(counter) if counter.bounded else counter.key
        if kind > Kind.PEEK:
            holder = self.holder(op, now)
            if holder is None:
                return
            key = holder
        held = states.get(key) or Held()
        if kind == Kind.RELEASE:
            held.free(name)
            if self.dirty is not None:
                self._note_gone(_joined(key, name), self.dirty)
            return
        if self.dirty is not None:
            self._note(_joined(key, name), self.dirty, new=not held.holds(name, now))
        lifetime = limit.meter.lease_us
        held.hold(name, lifetime, now + lifetime)
        states.age(now, lifetime)
        states.put(key, held, counter.bounded and key is not counter.overflow)

    def _note(self, name: bytes, dirty: set[bytes], *, new: bool) -> None:
        if self._fresh_in is not dirty:
            self._fresh_in, self._fresh = dirty, set()
        if new and name not in dirty:
            self._fresh.add(name)
        dirty.add(name)

    def _note_gone(self, name: bytes, dirty: set[bytes]) -> None:
        if self._fresh_in is dirty and name in self._fresh:
            self._fresh.discard(name)
            dirty.discard(name)
        elif len(dirty) < MOST_GONE:
            dirty.add(name)

    def take_back(self, op: Op, now: int) -> None:
        self.add(op._replace(kind=Kind.RELEASE), op.hits, now)

    def rows(self, keys: Iterable[bytes], now: int) -> Iterator[Row]:
        for name in keys:
            key, lease_id = _taken_apart(name)
            held = self._states.get(key)
            found = held.find(lease_id, now) if held is not None else None
            if found is None:
                yield 0, name, 0, 0, 0
            else:
                lifetime, ends = found
                yield 0, name, ends, lifetime, ends

    def restore(self, rows: Iterable[Row], now: int) -> None:
        self._states.age(now, 0)
        longest = 0
        at_rest = sorted((min(ends, now + life), life, name) for _, name, ends, life, _ in rows)
        for ends, lifetime, name in at_rest:
            key, lease_id = _taken_apart(name)
            held = self._states.get(key) or Held()
            held.hold(lease_id, lifetime, ends)
            self._states.put(key, held, bounded=True)
            longest = max(longest, lifetime)
        self._states.age(now, longest)


def _joined(key: bytes, lease_id: str) -> bytes:
    return b"%b%b%b" % (
        len(key).to_bytes(_SIZE, "big"),
        key,
        lease_id.encode("utf-8", "surrogateescape"),
    )


def _taken_apart(name: bytes) -> tuple[bytes, str]:
    """Undo `_joined`. Raises `ValueError` for what it cannot have made."""
    end = _SIZE + int.from_bytes(name[:_SIZE], "big")
    if len(name) < end:
        msg = "no lease"
        raise ValueError(msg)
    return name[_SIZE:end], name[end:].decode("utf-8", "surrogateescape")
