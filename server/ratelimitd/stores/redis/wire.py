"""Operations as the script reads them, and its answers as standings.

What is sent for a call is made once per window and kept, so that a call that comes again costs a
few joined bytes. Pure: knows no connection and reads no clock. The layout is that of
`lua/batch.lua`; the arithmetic of standings is `algorithms/`, as everywhere.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from ratelimitd.algorithms import token_bucket
from ratelimitd.model import MAX_COUNT, Algorithm, Kind
from ratelimitd.stores.ports import ID_LIFETIME
from ratelimitd.stores.redis.readings import READERS
from ratelimitd.stores.redis.script import bulk
from ratelimitd.stores.stacking import identity_of
from ratelimitd.windows import Span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratelimitd.model import Op, Standing
    from ratelimitd.stores.redis.readings import Reader
    from ratelimitd.stores.redis.spelling import Layout

DENIED, PASSED, STALE, CROWDED, BROKEN = range(5)
"""What the script says of a decision. STALE and CROWDED have charged nothing."""
REPEATED = 8
"""Added to DENIED, PASSED and CROWDED where the call's id was known."""
ALWAYS = 2**53
"""An instant that no clock reaches."""

_CODES = {
    Algorithm.FIXED_WINDOW: 1,
    Algorithm.SLIDING_WINDOW: 2,
    Algorithm.TOKEN_BUCKET: 3,
    Algorithm.LEASE: 4,
}
_BOUNDED, _SHADOW, _TWO_KEYS = 1, 2, 4
_REFUND_LAST = 7  # a kind that only the script knows: of a sliding window's last window
_LEAST_GRACE = 1_000_000
_MOST_GRACE = 60_000_000
_HEAD = struct.Struct("<7d")
_OP = struct.Struct("<7d")


class Once(NamedTuple):
    """What makes a call's reports and refunds count once, however often it comes."""

    request_id: bytes = b""
    remember_us: int = 0

    @property
    def milliseconds(self) -> int:
        """For how long the id is remembered; 0 without one."""
        return -(-max(self.remember_us, ID_LIFETIME) // 1000) if self.request_id else 0


NOT_ONCE = Once()


class Package(NamedTuple):
    """One decision, ready to be sent while `since` <= now < `until`."""

    keys: bytes
    """Its KEYS (RESP)."""
    key_count: int
    arguments: bytes
    """Its ARGV (RESP)."""
    argument_count: int
    since: int
    until: int
    order: tuple[int, ...]
    """The operations as the script does them: what is told, peeks, charges, those of shadows."""
    readers: tuple[Reader, ...]
    """How to read the state of each, in that order."""
    spans: tuple[Span, ...]
    """The window of each, in that order; of no meaning where there is none."""
    width: int
    """How many numbers the answer has after its status."""
    acquires: int
    """How many of its ids are leases to be acquired, where all of them are; else 0."""

    def of_lease(self, lease: str) -> Package:
        """Return a package that was made without a lease, with one for all that it acquires."""
        blob = self.arguments[: -len(_NO_ID) * self.acquires]
        return self._replace(arguments=blob + _id(lease) * self.acquires)


class _Frame(NamedTuple):
    """Where an operation counts now."""

    keys: tuple[bytes, ...]
    since: int
    until: int
    numbers: tuple[int, int, int]
    """x, y and z of the algorithm's part of the script."""


def pack(
    ops: Sequence[Op],
    now: int,
    layout: Layout,
    once: Once = NOT_ONCE,
    *,
    late: bool = False,
) -> Package:
    """Spell a call for the windows of `now`. `late`: do it whatever the script's clock says."""
    order = sorted(range(len(ops)), key=lambda index: _rank(ops[index]))
    keys = [layout.spell_id(once.request_id, ops[order[0]].counter)] if once.request_id else []
    parts, ids, readers, spans = [], [], [], []
    since, until = 0, ALWAYS
    for index in order:
        op = ops[index]
        frame = _frame(op, now, layout)
        keys += frame.keys
        since, until = max(since, frame.since), min(until, frame.until)
        parts.append(_operation(op, frame))
        if op.limit.algorithm is Algorithm.LEASE:
            ids.append(_id(op.lease))
        readers.append(READERS[op.limit.algorithm])
        spans.append(Span(frame.since, frame.until))
    if late:
        since, until = 0, ALWAYS
    adds_up = any(op.prior for op in ops)
    head = _HEAD.pack(len(ops), since, until, adds_up, once.milliseconds, len(keys), len(ids))
    return Package(
        b"".join(map(bulk, keys)),
        len(keys),
        bulk(head + b"".join(parts)) + b"".join(ids),
        1 + len(ids),
        since,
        until,
        tuple(order),
        tuple(readers),
        tuple(spans),
        sum(r.told if ops[i].kind > Kind.PEEK else r.judged for i, r in zip(order, readers)),  # noqa: B905
        len(ids) * all(op.kind == Kind.ACQUIRE for op in ops if op.limit.window is None),
    )


def _id(lease: str) -> bytes:
    return bulk(lease.encode("utf-8", "surrogateescape"))


_NO_ID = _id("")


def _rank(op: Op) -> int:
    if op.kind > Kind.PEEK:
        return 0
    if op.kind == Kind.PEEK:
        return 1
    return 3 if op.limit.shadow else 2


def _operation(op: Op, frame: _Frame) -> bytes:
    limit = op.limit
    flags = _BOUNDED * op.counter.bounded + _SHADOW * limit.shadow
    flags += _TWO_KEYS * (len(frame.keys) > 1)
    code, numbers = _CODES[limit.algorithm], frame.numbers
    kind, hits, prior = op.kind, min(op.hits, ALWAYS), min(op.prior, ALWAYS)
    if kind > Kind.PEEK:
        hits = min(hits, MAX_COUNT)
    if kind == Kind.REFUND and 0 < op.as_of < frame.since:
        kind, hits = _refund_of_the_past(op, hits, frame.since)
    return _OP.pack(code + 8 * kind + 64 * flags, hits, limit.amount, prior, *numbers)


def _refund_of_the_past(op: Op, hits: int, since: int) -> tuple[int, int]:
    """Return kind and hits of a refund of what was charged before the present window began."""
    window = op.limit.window
    assert window is not None
    if op.limit.algorithm is Algorithm.SLIDING_WINDOW:
        return _REFUND_LAST, hits if op.as_of >= window.span(since - 1).start else 0
    return op.kind, 0


def _frame(op: Op, now: int, layout: Layout) -> _Frame:
    limit, counter = op.limit, op.counter
    if limit.window is None:
        keys = [layout.spell(counter, None)]
        if counter.bounded and op.kind >= Kind.RELEASE:
            keys.append(layout.spell(layout.overflow(counter), None))
        return _Frame(tuple(keys), 0, ALWAYS, (limit.meter.lease_us, 0, 0))
    if limit.algorithm is Algorithm.TOKEN_BUCKET:
        numbers = (limit.burst, limit.window.length_us, token_bucket.lifetime(limit))
        return _Frame((layout.spell(counter, None),), 0, ALWAYS, numbers)
    span = limit.window.span(now)
    key = layout.spell(counter, span.start)
    length = span.end - span.start
    if limit.algorithm is Algorithm.FIXED_WINDOW:
        grace = min(max(length, _LEAST_GRACE), _MOST_GRACE)
        return _Frame((key,), *span, (span.end, length, grace))
    last = layout.spell(counter, limit.window.span(span.start - 1).start)
    return _Frame((key, last), *span, (span.end, length, limit.window.span(span.end).end))


def crowded_out(ops: Sequence[Op], package: Package, answer: Sequence[int]) -> frozenset[int]:
    """Return the operations whose counters found no place, by their index in the call."""
    found, at = [], 0
    for index, reader in zip(package.order, package.readers, strict=True):
        if answer[at] == -1:
            found.append(index)
        at += reader.told if ops[index].kind > Kind.PEEK else reader.judged
    return frozenset(found)


def read(
    ops: Sequence[Op], package: Package, answer: Sequence[int], now: int, *, passed: bool
) -> list[Standing]:
    """Return the standings of a call that was decided, in the order of its operations.

    Just as the memory store's: a peek, and in a denied call all that would have passed, is told as
    the call leaves it.
    """
    standings: list[Standing | None] = [None] * len(ops)
    restated: list[tuple[int, Reader, Span, Sequence[int]]] = []
    at = 0
    for index, reader, span in zip(package.order, package.readers, package.spans):  # noqa: B905 - of equal length, and hot
        op = ops[index]
        if op.kind > Kind.PEEK:
            state = answer[at : at + reader.told]
            at += reader.told
            standings[index] = reader.tell(op, state, now, span)
            continue
        state = answer[at : at + reader.judged]
        at += reader.judged
        standing = reader.judge(op.limit, state, op.prior + op.hits, now, span)
        standings[index] = standing
        if standing.passes and (not passed or op.kind == Kind.PEEK):
            restated.append((index, reader, span, state))
    for index, reader, span, state in restated:
        op, judged = ops[index], standings[index]
        assert judged is not None
        added = _charged(ops, standings, op) if passed else 0
        left = reader.add(op.limit, state, added, now, span)
        bare = reader.judge(op.limit, left, 0, now, span)
        standings[index] = judged._replace(
            before=bare.before, after=bare.before, reset_at=bare.reset_at
        )
    return [standing for standing in standings if standing is not None]


def _charged(ops: Sequence[Op], standings: Sequence[Standing | None], peek: Op) -> int:
    """Return what the call charged to the counter that it peeks at."""
    identity = identity_of(peek)
    return sum(
        op.hits
        for op, standing in zip(ops, standings, strict=True)
        if op.kind <= Kind.ACQUIRE and standing and standing.passes and identity_of(op) == identity
    )
