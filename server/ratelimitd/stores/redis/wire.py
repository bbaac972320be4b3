"""Operations as the script reads them, and its answers as standings.

What is sent for a call is made once per window and kept, so that a call that comes again costs a
few joined bytes. Pure: knows no connection and reads no clock. The layout is that of
`lua/batch.lua`; the arithmetic of standings is `algorithms/`, as everywhere.
"""

from __future__ import annotations

import struct
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ratelimitd.algorithms import token_bucket
from ratelimitd.model import MAX_COUNT, Algorithm, Kind, make_standing
from ratelimitd.stores.ports import ID_LIFETIME
from ratelimitd.stores.redis.readings import READERS
from ratelimitd.stores.redis.script import bulk
from ratelimitd.stores.stacking import identity_of
from ratelimitd.windows import Span

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
_PEEK = Kind.PEEK
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
    """How many of its ids are leases to acquire, where all are and none is named yet; else 0."""
    beside: dict[int, tuple[int, ...]]
    """For each peek at a counter that the call also charges, the operations that charge it."""

    def of_lease(self, lease: str) -> Package:
        """Return a package that was made without a lease, with one for all that it acquires."""
        keys, key_count, arguments, *others, acquires, beside = self
        arguments = arguments[: -len(_NO_ID) * acquires] + _id(lease) * acquires
        return make_package((keys, key_count, arguments, *others, acquires, beside))


make_package: Callable[[tuple[Any, ...]], Package] = partial(tuple.__new__, Package)
"""Make a `Package` of all its fields in their order: a third of the constructor's time."""


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
    for op in [ops[index] for index in order]:
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
        _unnamed([op for op in ops if op.limit.window is None]),
        _charged_beside(ops),
    )


def _unnamed(ops: Sequence[Op]) -> int:
    """Return `Package.acquires`, of the operations on leases."""
    return len(ops) if all(op.kind == Kind.ACQUIRE and not op.lease for op in ops) else 0


def _charged_beside(ops: Sequence[Op]) -> dict[int, tuple[int, ...]]:
    """Return `Package.beside`."""
    charges: dict[tuple[str, bytes], tuple[int, ...]] = {}
    for index, op in enumerate(ops):
        if op.kind <= Kind.ACQUIRE:
            charges[identity_of(op)] = (*charges.get(identity_of(op), ()), index)
    peeks = {index: identity_of(op) for index, op in enumerate(ops) if op.kind == Kind.PEEK}
    return {index: charges[who] for index, who in peeks.items() if who in charges}


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
    standings: list[Any] = [None] * len(ops)
    restated: list[tuple[int, Reader, Span, Sequence[int]]] = []
    at = 0
    for index, reader, span in zip(package.order, package.readers, package.spans):  # noqa: B905 - of equal length, and hot
        judged, told, judge, _ = reader
        kind, _, limit, hits, prior, _, _ = op = ops[index]
        if kind > _PEEK:
            standings[index] = reader.tell(op, answer[at : at + told], now, span)
            at += told
            continue
        state = answer[at : at + judged]
        at += judged
        standings[index] = standing = judge(limit, state, prior + hits, now, span)
        if standing[1] and (kind == _PEEK or not passed):
            restated.append((index, reader, span, state))
    for index, reader, span, state in restated:
        limit, _, _, _, retry_at, _ = standings[index]
        beside = package.beside.get(index, ()) if passed else ()
        if beside:
            added = sum(ops[other].hits for other in beside if standings[other].passes)
            state = reader.add(limit, state, added, now, span)  # noqa: PLW2901 - as it is left
        _, _, used, _, _, reset_at = reader.judge(limit, state, 0, now, span)
        standings[index] = make_standing((limit, True, used, used, retry_at, reset_at))
    return standings
