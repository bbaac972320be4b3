"""What a whole call means: its operations, and how to read their results.

A `Call` is made once per distinct question and policy generation, so that deciding the same
question again does nothing but count. Pure; the counts are the limiter's to take.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ratelimitd.decision import (
    Decision,
    Status,
    length,
    longest_wait,
    make_decision,
    make_status,
    rank,
    tightest,
)
from ratelimitd.model import Kind, MeterKind, Op
from ratelimitd.policy.matcher import Fate, Matcher, Reading
from ratelimitd.policy.registry import ALWAYS, joint
from ratelimitd.policy.spec import Family, OnStoreFailure
from ratelimitd.stores.stacking import identity_of, stacked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratelimitd.model import Descriptor, Question, Standing
    from ratelimitd.policy.registry import Known
    from ratelimitd.stores.ports import Taken

_OF_A_LEASE = (Kind.RELEASE, Kind.RENEW)
UNKNOWN_DOMAIN = "unknown_domain"
UNKNOWN_METER = "unknown_meter"
UNTRUSTED_ENTRY = "untrusted_entry"
STORE_UNAVAILABLE = "store_unavailable"
"""`Decision.reason` of a call that is denied because the store cannot be asked."""


class Part(NamedTuple):
    """One descriptor's share of a call."""

    visible: tuple[int, ...]
    """Which operations are its own and may be shown (not those of shadow limits)."""
    refused: bool = False
    """Its key may not call at all."""
    only: int | None = None
    """The one of `visible`, where it is alone, as for most."""


class Call(NamedTuple):
    """One question under one generation of the policy."""

    generation: object
    """Whose plans these are; another generation reads the question anew."""
    ops: tuple[Op, ...]
    parts: tuple[Part, ...]
    judged: tuple[int, ...]
    """Operations that take part in the verdict and may be shown."""
    listed: tuple[int, ...]
    """For the `ietf` family: one judged operation per limit; empty where it is not wanted."""
    showable: tuple[int, ...]
    """Operations of which one is shown while nothing denies: a single one where that is fixed."""
    families: tuple[Family, ...]
    """Which headers the domain's policy wants."""
    events: tuple[str, ...]
    """What is counted each time this call comes (unknown meters, untrusted entries)."""
    refusal: str
    """Why the call is refused whatever the counts are; empty for most."""
    plain: bool
    """Whether none of the next three holds, as for most calls."""
    acquires: tuple[int, ...]
    """Operations that acquire: they are of one lease, whose id is new each time."""
    reports: bool
    """Whether it tells of hits (reports, refunds), which must count once however often sent."""
    releases: bool
    """Whether it gives leases back."""
    on_store_failure: OnStoreFailure
    """What becomes of it while the store cannot be asked."""
    known: Known
    """What of the registry it depends on: it is read anew once that is not current."""


def compile_call(question: Question, matcher: Matcher | None, generation: object) -> Call:
    """Read a question under the policy of its domain (None: unknown, everything is allowed).

    Raises `ColdKeysError` where keys must be looked up before.
    """
    if matcher is None:
        free = tuple(Part(()) for _ in question.descriptors)
        unlimited = (free, (), (), (), (), (UNKNOWN_DOMAIN,), "")
        return Call(generation, (), *unlimited, *_does(()), OnStoreFailure.ALLOW, ALWAYS)
    readings = matcher.read_all(question.descriptors)
    named = not all(reading.plan.keyless for reading in readings)
    pairs = zip(question.descriptors, readings, strict=True)
    refused = [_refused(*pair, named=named) for pair in pairs]
    refusal = next((r.plan.refusal for r, no in zip(readings, refused, strict=True) if no), "")
    ops: list[Op] = []
    parts: list[Part] = []
    for descriptor, reading, no in zip(question.descriptors, readings, refused, strict=True):
        first = len(ops)
        if not no:
            ops += _ops(descriptor, reading, question.hits, peek_only=bool(refusal))
        visible = (index for index in range(first, len(ops)) if not ops[index].limit.shadow)
        parts.append(_part(tuple(visible), refused=no))
    judged = tuple(
        index for part in parts for index in part.visible if ops[index].kind <= Kind.PEEK
    )
    return Call(
        generation,
        stacked(ops),
        tuple(parts),
        judged,
        _listed(ops, judged) if Family.IETF in matcher.policy.families else (),
        _showable(ops, judged, matcher.policy.report, matcher.report_meter),
        matcher.policy.families,
        _events(readings),
        refusal,
        *_does(ops),
        matcher.policy.on_store_failure,
        joint(reading.plan.known for reading in readings),
    )


def _part(visible: tuple[int, ...], *, refused: bool) -> Part:
    return Part(visible, refused, visible[0] if len(visible) == 1 else None)


def _does(ops: Sequence[Op]) -> tuple[bool, tuple[int, ...], bool, bool]:
    """Return `Call.plain`, `acquires`, `reports` and `releases`."""
    kinds = {op.kind for op in ops}
    acquires = tuple(index for index, op in enumerate(ops) if op.kind == Kind.ACQUIRE)
    releases = Kind.RELEASE in kinds
    reports = Kind.REPORT in kinds or Kind.REFUND in kinds
    return not (acquires or releases or reports), acquires, reports, releases


def _refused(descriptor: Descriptor, reading: Reading, *, named: bool) -> bool:
    """Say whether a descriptor asks for something that its key may not have; reports do not ask.

    Whether a key is missing is the call's matter: where another descriptor names the subject, one
    that does not (the address's) is not refused for it.
    """
    if named and reading.plan.keyless:
        return False
    if reading.plan.fate is not Fate.REFUSED or reading.done or descriptor.negative:
        return False
    if descriptor.kind is not None:
        return descriptor.kind <= Kind.PEEK
    meter = reading.plan.meter
    return not (meter and meter.kind is MeterKind.POSTPAID and descriptor.hits)


def _events(readings: Sequence[Reading]) -> tuple[str, ...]:
    events: list[str] = []
    for reading in readings:
        events += [UNTRUSTED_ENTRY] * reading.untrusted
        if reading.plan.fate is Fate.UNKNOWN_METER:
            events.append(UNKNOWN_METER)
    return tuple(events)


def _ops(descriptor: Descriptor, reading: Reading, default: int, *, peek_only: bool) -> list[Op]:
    """Return one descriptor's operations."""
    plan = reading.plan
    if plan.meter is None:
        return []
    kind, hits = _kind(descriptor, reading, plan.meter.kind, default)
    if kind is None:
        return []
    if peek_only and kind <= Kind.PEEK:
        kind, hits = Kind.PEEK, max(hits, 1)
    lease = reading.lease if kind in _OF_A_LEASE else ""
    return [Op(kind, counter, limit, hits, 0, lease) for limit, counter in plan.limits]


def _kind(
    descriptor: Descriptor, reading: Reading, meter: MeterKind, default: int
) -> tuple[int | None, int]:
    """Say what a descriptor does and how much of it (design, section 6)."""
    own = descriptor.hits
    if descriptor.kind is not None:
        return descriptor.kind, own or 0
    least = 0 if meter is MeterKind.POSTPAID else 1
    hits = (default or least) if own is None else own
    if meter is MeterKind.LEASE:
        if reading.done or descriptor.negative:
            return (Kind.RELEASE, 1) if reading.lease else (None, 0)
        return (Kind.PEEK, 1) if own == 0 else (Kind.ACQUIRE, 1)
    if descriptor.negative:
        return (Kind.REFUND, hits) if hits else (None, 0)
    if reading.done or (meter is MeterKind.POSTPAID and own):
        return (Kind.REPORT, hits) if hits else (None, 0)
    if meter is MeterKind.POSTPAID or hits == 0:
        return Kind.PEEK, 1
    return Kind.CHARGE, hits


def _listed(ops: list[Op], judged: tuple[int, ...]) -> tuple[int, ...]:
    """Return one operation of each limit: a name stands once in a header.

    It is the last one on the counter that the call names first: it knows what the call leaves.
    """
    chosen: dict[str, int] = {}
    for index in judged:
        name = ops[index].limit.name
        if identity_of(ops[chosen.setdefault(name, index)]) == identity_of(ops[index]):
            chosen[name] = index
    return tuple(chosen.values())


def _showable(ops: list[Op], judged: tuple[int, ...], report: str, meter: str) -> tuple[int, ...]:
    """Return the candidates for the headers of an allowed call, of which the tightest is shown.

    The reported limit where the call has it, else the longest window of its meter, else all limits
    of the first kind of meter: prepaid, postpaid, leases.
    """
    named = tuple(index for index in judged if ops[index].limit.name == report)
    if named or not judged:
        return named
    same = [index for index in judged if ops[index].limit.meter.name == meter]
    if same:
        longest = max(length(ops[index].limit) for index in same)
        return tuple(index for index in same if length(ops[index].limit) == longest)
    first = min(rank(ops[index].limit) for index in judged)
    return tuple(index for index in judged if rank(ops[index].limit) == first)


def settle(call: Call, taken: Taken, lease: str) -> Decision:
    """Read the results of a call's operations: statuses, and the limit that headers show."""
    now, passed, standings, _ = taken
    _, ops, parts, _, listed, showable, families, _, refusal, _, _, _, _, _, _ = call
    if not passed or refusal:
        return _denied(call, taken)
    shown: Standing | None = None
    if len(showable) == 1:
        shown = standings[showable[0]]
    elif showable:
        shown = tightest([standings[index] for index in showable])
    statuses = []
    for visible, _, only in parts:
        if only is not None:
            best: Standing | None = standings[only]
        elif len(visible) == len(ops):
            best = tightest(standings) if ops else None
        else:
            best = tightest([standings[index] for index in visible]) if visible else None
        statuses.append(make_status((True, best)))
    every = [standings[index] for index in listed] if listed else ()
    return make_decision(
        (now, True, statuses, shown, every, families, "", lease, "", standings, ops, True)
    )


def settle_unasked(call: Call, *, allowed: bool) -> Decision:
    """Answer a call without counts: no limit is shown, because nobody knows how it stands.

    A refused key stays refused. Otherwise, where it is not allowed, those descriptors are denied
    that a limit of their own could deny; without any the call is allowed all the same.
    """
    judged = set(call.judged)
    allowed = allowed or not judged
    statuses = [
        Status(not part.refused and (allowed or judged.isdisjoint(part.visible)), None)
        for part in call.parts
    ]
    reason = "" if call.refusal or allowed else STORE_UNAVAILABLE
    allowed = allowed and not call.refusal
    answer = (allowed, statuses, None, (), (), call.refusal, "", reason)
    return Decision(0, *answer, ops=call.ops, counted=False)


def _denied(call: Call, taken: Taken) -> Decision:
    now, passed, standings, _ = taken
    statuses = [_status(part, standings) for part in call.parts]
    shown = None
    if not call.refusal:
        assert not passed
        failing = [standings[index] for index in call.judged if not standings[index].passes]
        shown = longest_wait(failing)
    listed = [standings[index] for index in call.listed]
    answer = (False, statuses, shown, listed, call.families, call.refusal)
    return Decision(now, *answer, every=standings, ops=call.ops)


def _status(part: Part, standings: Sequence[Standing]) -> Status:
    if part.refused:
        return Status(False, None)
    if not part.visible:
        return Status(True, None)
    own = [standings[index] for index in part.visible]
    failing = [standing for standing in own if not standing.passes]
    if failing:
        return Status(False, longest_wait(failing))
    return Status(True, tightest(own))
