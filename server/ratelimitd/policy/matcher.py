"""What a descriptor means: which limits of whose counters.

Cached as plans, so that a descriptor seen before examines no rule at all (`Matcher.examined` proves
it). Owns the plan cache, the subject rules and trust in entries. Reads no clock, keeps no
counts.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, NamedTuple

from ratelimitd import keys
from ratelimitd.errors import ColdKeysError
from ratelimitd.memo import Memo
from ratelimitd.model import (
    OVERFLOW,
    Counter,
    Descriptor,
    Limit,
    Meter,
    MeterKind,
    Override,
    Subject,
    usual_name,
)
from ratelimitd.policy.callers import ADDRESS, Callers
from ratelimitd.policy.glob import matches
from ratelimitd.policy.registry import ALWAYS
from ratelimitd.policy.spec import DEFAULT_METER, PATHS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ratelimitd.keys import Hasher
    from ratelimitd.policy.callers import Caller
    from ratelimitd.policy.registry import Known, Registry
    from ratelimitd.policy.spec import Policy

PLANS = 32_768
"""Plans per generation of the cache; two generations, about 1 KiB each plan."""
_SHORT = keys.LONGEST_VALUE // 4
"""Characters that can never be over `LONGEST_VALUE` bytes."""

Value = str | None
"""A descriptor entry's value; None where the entry is absent, which is not empty."""
Given = Value | Override | bytes
"""What a plan depends on: values of entries; behind them a limit and a subject, where given."""


class Fate(enum.Enum):
    """What a plan makes of its descriptor."""

    LIMITED = "limited"
    FREE = "free"
    """Exempt, or no limit applies."""
    REFUSED = "refused"
    """The key may not call at all."""
    UNKNOWN_METER = "unknown meter"


class Plan(NamedTuple):
    """What a descriptor means under one policy."""

    fate: Fate
    meter: Meter | None = None
    limits: tuple[tuple[Limit, Counter], ...] = ()
    """Each limit that applies, with the counter it is counted on."""
    refusal: str = ""
    """For REFUSED: what the caller is told."""
    keyless: bool = False
    """It names no subject: `missing` says what becomes of it."""
    known: Known = ALWAYS
    """What of the registry it depends on: it holds while that is current."""
    cold: tuple[Subject, ...] = ()
    """Keys to look up first; then this is no plan yet."""


class Reading(NamedTuple):
    """A descriptor, read: its plan and the entries that steer the limiter."""

    plan: Plan
    done: bool
    """It carries `phase=done`: it reports what has happened."""
    lease: str
    """The `lease` entry, or empty."""
    untrusted: int
    """Entries ignored because their name is a record attribute's."""


class Matcher:
    """One domain's policy, ready to read descriptors. Immutable but for its cache and counter."""

    def __init__(
        self,
        policy: Policy,
        hasher: Hasher,
        plans: int = PLANS,
        registry: Registry | None = None,
    ) -> None:
        self.policy = policy
        self.callers = Callers(policy, hasher, registry)
        self.examined = 0
        """Rules (limits and exemptions) examined so far."""
        self._hasher = hasher
        names = sorted(named_entries(policy) - policy.attributes)
        self._slots = {name: index for index, name in enumerate(names)}
        self._names = tuple(names)
        self._memo: Memo[tuple[Given, ...], Plan] = Memo(plans)
        self._families: dict[Limit, str] = {}
        self._group = _outermost(policy)
        named = (limit.meter.name for limit in _limits(policy) if limit.name == policy.report)
        self.report_meter = next(named, policy.report.partition("/")[0])
        """The meter of the limit that headers report, where some tier has it."""

    def forget(self) -> None:
        """Forget all plans, a little at a time."""
        self._memo.forget()

    def read_all(self, descriptors: Iterable[Descriptor]) -> list[Reading]:
        """Return what descriptors mean; raises `ColdKeysError` with all keys to look up first."""
        readings = [self.read(descriptor) for descriptor in descriptors]
        cold = {subject for reading in readings for subject in reading.plan.cold}
        if cold:
            raise ColdKeysError("keys have to be looked up first", cold)
        return readings

    def read(self, descriptor: Descriptor) -> Reading:
        """Return what the descriptor means; of entries of one name, the first counts."""
        values: list[Given] = [None] * len(self._names)
        lease, done, untrusted, long = "", False, 0, False
        for name, value in descriptor.entries:
            index = self._slots.get(name)
            if index is not None:
                if values[index] is None:
                    values[index] = value.partition("?")[0] if name in PATHS else value
                    long = long or len(value) > _SHORT
            elif name in self.policy.attributes:
                untrusted += 1
            if name == "lease":
                lease = lease or value
            elif name == "phase":
                done = done or value == "done"
        if descriptor.override and self.policy.overrides:
            values.append(descriptor.override)
        if descriptor.subject is not None:
            values.append(descriptor.subject)
        key = self._bounded(values) if long else tuple(values)
        plan = self._memo.get(key) or self._memo.recall(key)
        if plan is None or not plan.known.current:
            plan = self._planned(key, values)
        return Reading(plan, done, lease, untrusted)

    def _planned(self, key: tuple[Given, ...], values: list[Given]) -> Plan:
        plan = self._plan(values)
        if not plan.cold:
            self._memo.put(key, plan)
        return plan

    def _bounded(self, values: list[Given]) -> tuple[Given, ...]:
        """Return the key of the cache where some value may be long: no memory for what is sent."""
        bounded_value = self._hasher.bounded_value
        return tuple(bounded_value(each) if isinstance(each, str) else each for each in values)

    def _plan(self, given: list[Given]) -> Plan:
        behind = given[len(self._names) :]
        override = next((each for each in behind if isinstance(each, Override)), None)
        subject = next((Subject(each) for each in behind if isinstance(each, bytes)), None)
        values: dict[str, str] = {
            name: value
            for name, value in zip(self._names, given, strict=False)
            if isinstance(value, str)
        }
        api_key = self.callers.api_key(values)
        keyless = subject is None and not api_key
        values = {name: self._hasher.bounded_value(value) for name, value in values.items()}
        for conditions in self.policy.exempt:
            if self._applies(conditions, values):
                return Plan(Fate.FREE, keyless=keyless)
        caller = self.callers.of(subject, api_key, values.get(ADDRESS))
        if caller.cold:
            return Plan(Fate.FREE, keyless=keyless, cold=caller.cold)
        meter = self.policy.meters.get(values.get("meter", DEFAULT_METER))
        plan = self._limited(caller, meter, override, values)
        return plan._replace(keyless=keyless, known=caller.known)

    def _limited(
        self,
        caller: Caller,
        meter: Meter | None,
        override: Override | None,
        values: dict[str, str],
    ) -> Plan:
        """Return what binds a caller on a meter."""
        if caller.is_free:
            return Plan(Fate.FREE, meter)
        if meter is None:
            fate = Fate.REFUSED if caller.refusal else Fate.UNKNOWN_METER
            return Plan(fate, refusal=caller.refusal)
        limits = caller.limits
        if override is not None and meter.kind is not MeterKind.LEASE and not caller.is_nobody:
            limits = (overriding(override, meter),)
        if caller.record is not None:
            values.update(caller.record.attributes)
        bound = tuple(
            (limit, self._counter(limit, caller, values))
            for limit in limits
            if limit.meter.name == meter.name and self._applies(limit.when, values)
        )
        if caller.refusal:
            return Plan(Fate.REFUSED, meter, bound, caller.refusal)
        return Plan(Fate.LIMITED if bound else Fate.FREE, meter, bound)

    def counted(self, caller: Caller) -> list[tuple[Limit, Counter]]:
        """Return the limits of a caller whose counters its key and its record name alone."""
        values = dict(caller.record.attributes) if caller.record is not None else {}
        own = {"subject", *self.policy.attributes}
        return [
            (limit, self._counter(limit, caller, values))
            for limit in caller.limits
            if own.issuperset(limit.per)
        ]

    def _applies(self, conditions: tuple[tuple[str, str], ...], values: dict[str, str]) -> bool:
        self.examined += 1
        for name, pattern in conditions:
            value = values.get(name)
            if value is None or not matches(pattern, value):
                return False
        return True

    def _counter(self, limit: Limit, caller: Caller, values: dict[str, str]) -> Counter:
        family = self._families.get(limit)
        if family is None:
            family = self._families[limit] = keys.family(self.policy.domain, limit)
            if len(self._families) > PLANS:
                self._families.clear()
        parts: list[str | bytes | None] = []
        bounded = False
        for name in limit.per:
            if name == "subject":
                parts.append(caller.subject)
                bounded = bounded or caller.record is None
            else:
                parts.append(values.get(name))
                bounded = bounded or name not in self.policy.attributes
        overflow = OVERFLOW
        if caller.record is not None:  # a known key that invents entries crowds only itself
            overflow = b"%b@%b" % (OVERFLOW, caller.subject.hex().encode())
        key, tag = self._hasher.counter_key(parts), self._tag(limit, caller)
        return Counter(family, key, bounded=bounded, overflow=overflow, tag=tag)

    def _tag(self, limit: Limit, caller: Caller) -> bytes:
        """Return what keeps the counters of one caller together: its outermost group, else itself.

        Depends on the counter's own identity only, so that all who share a counter find it.
        """
        known = caller.record.attributes if caller.record is not None else {}
        if self._group in known and not {self._group, "subject"}.isdisjoint(limit.per):
            return b"%b=%b" % (self._group.encode(), keys.to_bytes(known[self._group]))
        return caller.subject if "subject" in limit.per else b""


def overriding(override: Override, meter: Meter) -> Limit:
    """Return the limit that a descriptor brings along."""
    name = usual_name(meter, override.window)
    return Limit(name=name, meter=meter, amount=override.amount, window=override.window)


def named_entries(policy: Policy) -> set[str]:
    """Return the names of all entries that some rule reads."""
    names = {policy.subject.entry, "meter"}
    if isinstance(policy.subject.missing, str):
        names.add(ADDRESS)
    for limit in _limits(policy):
        names.update(limit.per)
        names.update(name for name, _ in limit.when)
    for conditions in policy.exempt:
        names.update(name for name, _ in conditions)
    return names - {"subject", "lease"}


def _outermost(policy: Policy) -> str:
    """Return the attribute that keeps counters together: `org` where limits share by it."""
    shared = {name for limit in _limits(policy) for name in limit.per} & policy.attributes
    return "org" if "org" in shared else min(shared, default="")


def _limits(policy: Policy) -> Iterator[Limit]:
    """Yield the limits of all tiers and records."""
    for tier in policy.tiers.values():
        yield from tier.limits
    for record in policy.records.values():
        yield from record.limits
