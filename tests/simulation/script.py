"""The decisions of `lua/`, in Python on a `Keyspace`: as the script decides, to the letter.

Rooms of invented counters are left out: nothing here is bounded. Each decision says whose it is by
one more argument (`TAG`), which the simulation adds on its way to the batcher.
"""

import struct
from dataclasses import dataclass, field

from ratelimitd.model import Kind
from ratelimitd.stores.redis.wire import DENIED, PASSED, STALE
from tests.simulation.keyspace import Keyspace

TAG = b"tag:"
_HEAD, _OP = struct.Struct("<7d"), struct.Struct("<7d")
_FIXED, _SLIDING, _BUCKET, _LEASE = 1, 2, 3, 4


@dataclass
class Act:
    """One operation as it was done."""

    algorithm: int
    kind: int
    key: bytes
    hits: int
    lease: str
    amount: int
    fits: bool = True
    before: int = 0
    """A plain count, before."""
    held: bool = False
    """Whether the lease that it releases or renews was held."""


@dataclass
class Deed:
    """One decision as a server made it."""

    tag: str
    now: int
    elapsed: int
    """Monotonic, microseconds: what the hosts' clocks agree on."""
    status: int = DENIED
    numbers: list[int] = field(default_factory=list)
    acts: list[Act] = field(default_factory=list)
    id_key: bytes = b""
    repeated: bool = False
    """Its id was known, so that what it told was not counted again."""
    lost: bool = False
    """A failover went to a replica that never saw it."""


class Decider:
    """Makes one decision."""

    def __init__(self, keys: Keyspace, now: int, deed: Deed) -> None:
        self._keys = keys
        self._now = now
        self._deed = deed
        self._mine: dict[bytes, int] | None = None
        self._taken: list[tuple[bytes, int]] = []
        self._later: list[tuple[bytes, tuple[float, ...], str]] = []

    def decide(self, blob: bytes, keys: list[bytes], ids: list[bytes]) -> None:
        """Decide, and write down what came of it."""
        deed = self._deed
        count, since, until, adds_up, remembered, _, _ = _HEAD.unpack_from(blob)
        if not since <= self._now < until:
            deed.status = STALE
            return
        self._mine = {} if adds_up else None
        if remembered:
            deed.id_key = keys.pop(0)
            deed.repeated = self._keys.get(deed.id_key) is not None
            if not deed.repeated:
                self._keys.set(deed.id_key, 1, self._keys.clock() + int(remembered) * 1000)
        passed = True
        for index in range(int(count)):
            what, hits, amount, prior, *numbers = _OP.unpack_from(
                blob, _HEAD.size + index * _OP.size
            )
            about = (what % 8, what // 8 % 8, what // 64)
            row = (*about, hits, prior, amount, *numbers)
            key, flags = keys.pop(0), int(row[2])
            assert not flags & 3, "no invented counters and no shadows here"
            second = keys.pop(0) if flags & 4 else b""
            lease = ids.pop(0).decode() if row[0] == _LEASE else ""
            act = Act(int(row[0]), int(row[1]), key, int(row[3]), lease, int(row[5]))
            deed.acts.append(act)
            judge = self._tell if row[1] > Kind.PEEK else self._judge
            deed.numbers += judge(act, row, second)
            passed = passed and act.fits
        self._end(passed=passed)

    def _end(self, *, passed: bool) -> None:
        self._deed.status = PASSED if passed else DENIED
        if not passed:
            for key, hits in reversed(self._taken):
                left = self._keys.number(key) - hits
                self._keys.set(key, left)
                if left == 0:
                    self._keys.delete(key)
            return
        for key, row, lease in self._later:
            if row[0] == _LEASE:
                self._hold(key, lease, int(row[6]))
            else:
                self._pour(key, 1, row)

    def _judge(self, act: Act, row: tuple[float, ...], second: bytes) -> list[int]:
        _, kind, _, hits, prior, amount, x, y, _ = map(int, row)
        if act.algorithm == _LEASE:
            held, last = self._held(act.key)
            act.fits = held + hits <= amount
            if act.fits and kind == Kind.ACQUIRE:
                self._later.append((act.key, row, act.lease))
            return [held, last]
        if act.algorithm == _BUCKET:
            level, at = self._bucket(act.key)
            act.fits = self._level(level, at, amount) + (prior + hits) * y <= x * y
            if act.fits and kind != Kind.PEEK:
                self._later.append((act.key, row, ""))
            return [level, at]
        previous = self._keys.number(second) if act.algorithm == _SLIDING else 0
        weighed = -(-previous * (x - self._now) // y)
        used = self._count(act, row)
        act.fits = used + weighed + prior + hits <= amount
        return [used, previous] if act.algorithm == _SLIDING else [used]

    def _count(self, act: Act, row: tuple[float, ...]) -> int:
        """Charge a plain count, if it can ever fit; return it as it was before the decision."""
        known = self._mine.get(act.key) if self._mine is not None else None
        before = act.before = self._keys.number(act.key)
        if act.kind == Kind.PEEK or act.hits > row[5]:
            return before if known is None else known
        fresh = before == 0 and known is None
        self._keys.set(act.key, before + act.hits, self._instant(row) if fresh else None)
        self._taken.append((act.key, act.hits))
        if self._mine is not None:
            self._mine.setdefault(act.key, before)
        return before if known is None else known

    def _tell(self, act: Act, row: tuple[float, ...], second: bytes) -> list[int]:
        if self._deed.repeated and act.kind < Kind.RELEASE:
            act.kind, act.hits = Kind.REFUND, 0
        if act.algorithm == _LEASE:
            return self._tell_lease(act, int(row[6]))
        if act.algorithm == _BUCKET:
            level, at = self._bucket(act.key)
            if self._keys.get(act.key) is None and act.kind == Kind.REFUND:
                return [0, 0, 0, 0]
            sign = -1 if act.kind == Kind.REFUND else 1
            return [level, at, *self._pour(act.key, sign, (*row[:3], act.hits, *row[4:]))]
        before = act.before = self._keys.number(act.key)
        if act.kind == Kind.REPORT:
            after = before + act.hits
            self._keys.set(act.key, after, self._instant(row) if not before else None)
        else:
            after = max(0, before - act.hits)
            if before:
                self._keys.set(act.key, after)
        if act.algorithm == _SLIDING:
            last = self._keys.number(second)
            return [before, last, after, last]
        return [before, after]

    def _tell_lease(self, act: Act, life: int) -> list[int]:
        held, last = self._held(act.key)
        rest = tuple(each for each in self._leases(act.key) if each[0] != act.lease)
        act.held = len(rest) < held
        if act.held and act.kind == Kind.RENEW:
            self._hold(act.key, act.lease, life)
        elif held and rest:
            self._keys.set(act.key, rest)
        elif held:
            self._keys.delete(act.key)
        return [held, last, *self._held(act.key), int(act.held)]

    @staticmethod
    def _instant(row: tuple[float, ...]) -> int:
        _, _, _, _, _, _, x, _, z = map(int, row)
        return x + z if row[0] == _FIXED else z

    def _bucket(self, key: bytes) -> tuple[int, int]:
        value = self._keys.get(key)
        assert value is None or (isinstance(value, tuple) and isinstance(value[0], int))
        return (value[0], value[1]) if value else (0, 0)

    def _level(self, level: int, at: int, amount: int) -> int:
        return level if self._now <= at else max(0, level - (self._now - at) * amount)

    def _pour(self, key: bytes, sign: int, row: tuple[float, ...]) -> tuple[int, int]:
        _, _, _, hits, _, amount, x, y, z = map(int, row)
        level, at = self._bucket(key)
        after = max(0, min(self._level(level, at, amount) + sign * hits * y, (x + amount) * y))
        at = max(at, self._now)
        self._keys.set(key, (after, at), at + z)
        return after, at

    def _leases(self, key: bytes) -> tuple[tuple[str, int], ...]:
        value = self._keys.get(key)
        assert value is None or isinstance(value, tuple)
        rows = [each for each in value or () if isinstance(each, tuple) and each[1] > self._now]
        return tuple(sorted(rows, key=lambda each: each[1]))

    def _held(self, key: bytes) -> tuple[int, int]:
        rows = self._leases(key)
        return len(rows), rows[-1][1] if rows else self._now

    def _hold(self, key: bytes, lease: str, life: int) -> None:
        rest = [each for each in self._leases(key) if each[0] != lease]
        rest.append((lease, self._now + life))
        last = max(ends for _, ends in rest)
        self._keys.set(key, tuple(rest), last)
