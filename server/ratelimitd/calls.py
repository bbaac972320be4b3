"""What a whole call means: its operations, and which of them say what.

A `Call` is made once per distinct question and policy generation, so that deciding the same
question again does nothing but count. Pure; the counts are the limiter's to take, and how their
results are read is `settling`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ratelimitd.decision import length, rank
from ratelimitd.model import Kind, MeterKind, Op
from ratelimitd.policy.matcher import Fate, Matcher, Reading
from ratelimitd.policy.registry import ALWAYS, joint
from ratelimitd.policy.spec import Family, OnStoreFailure
from ratelimitd.stores.stacking import identity_of, stacked

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ratelimitd.model import Descriptor, Question
    from ratelimitd.policy.registry import Known

_OF_A_LEASE = (Kind.RELEASE, Kind.RENEW)
UNKNOWN_DOMAIN = "unknown_domain"
UNKNOWN_METER = "unknown_meter"
UNTRUSTED_ENTRY = "untrusted_entry"


class Part(NamedTuple):
    """One descriptor's share of a call."""

    visible: tuple[int, ...]
    """Which operations are its own and may be shown (not those of shadow limits)."""
    refused: bool = False
    """Its key may not call at all."""


@dataclass(slots=True, eq=False)  # frozen, it would take four times as long to make
class Call:
    """One question under one generation of the policy. Nobody changes it."""

    generation: object
    """Whose plans these are; another generation reads the question anew."""
    ops: tuple[Op, ...]
    parts: tuple[Part, ...]
    firsts: tuple[int, ...]
    """Of each part, the first of its visible operations; 0 where it has none."""
    others: tuple[tuple[int, tuple[int, ...]], ...]
    """Which parts are not told by their first alone, and their visible operations."""
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
    acquires: bool
    """Whether it acquires: one lease, whose id is new each time."""
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
        return _unlimited(len(question.descriptors), generation)
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
        parts.append(Part(tuple(visible), refused=no))
    every = (index for part in parts for index in part.visible)
    judged = tuple(index for index in every if ops[index].kind <= Kind.PEEK)
    return Call(
        generation,
        stacked(ops),
        tuple(parts),
        _firsts(parts),
        _others(parts),
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


def _unlimited(descriptors: int, generation: object) -> Call:
    """Return a call of so many descriptors of a domain that nobody knows."""
    free = tuple(Part(()) for _ in range(descriptors))
    return Call(
        generation=generation,
        ops=(),
        parts=free,
        firsts=_firsts(free),
        others=_others(free),
        judged=(),
        listed=(),
        showable=(),
        families=(),
        events=(UNKNOWN_DOMAIN,),
        refusal="",
        plain=True,
        acquires=False,
        reports=False,
        releases=False,
        on_store_failure=OnStoreFailure.ALLOW,
        known=ALWAYS,
    )


def _firsts(parts: Iterable[Part]) -> tuple[int, ...]:
    """Return `Call.firsts`."""
    return tuple(part.visible[0] if part.visible else 0 for part in parts)


def _others(parts: Iterable[Part]) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """Return `Call.others`."""
    return tuple((at, part.visible) for at, part in enumerate(parts) if len(part.visible) != 1)


def _does(ops: Sequence[Op]) -> tuple[bool, bool, bool, bool]:
    """Return `Call.plain`, `acquires`, `reports` and `releases`."""
    kinds = {op.kind for op in ops}
    acquires = Kind.ACQUIRE in kinds
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
