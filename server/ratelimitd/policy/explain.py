"""Who gets what: a policy in words, for `ratelimitd check`.

Pure: gives data whose shape is stable (`as_json`), and the command line makes a table of it. Shows
a key by the first digits of its hash, never by itself.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ratelimitd.meters import MeterKind, OnExpiry
from ratelimitd.model import Algorithm
from ratelimitd.policy.effective import effective_limits
from ratelimitd.policy.spec import Verdict
from ratelimitd.windows import Unit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ratelimitd.meters import Meter
    from ratelimitd.model import Limit
    from ratelimitd.policy.spec import Policy, Record
    from ratelimitd.windows import Window

_SHOWN_HASH = 3
"""Bytes of a subject that are shown: 6 digits."""
_SECOND_US = 1_000_000
_STARTS = {
    Unit.SECOND: "each second",
    Unit.MINUTE: "each minute",
    Unit.HOUR: "each hour",
    Unit.DAY: "each day from 00:00 UTC",
    Unit.WEEK: "each week from Monday, 00:00 UTC",
}
_SIZES = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitWords:
    """A limit, in words."""

    name: str
    meter: str
    amount: int
    window: str
    """When it begins anew; for what is held, how long a lease lives."""
    algorithm: str
    burst: int
    """Token buckets: how much at once; else 0."""
    shared_by: str
    """Who shares a counter."""
    when: tuple[str, ...]
    """Conditions, all of which must hold."""
    shadow: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TierWords:
    """A tier, in words."""

    name: str
    custom: bool
    keys: int
    """How many of the file's keys are in it."""
    limits: tuple[LimitWords, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyWords:
    """A key with limits of its own, in words."""

    key: str
    """The first 6 hexadecimal digits of its subject."""
    tier: str
    attributes: dict[str, str]
    billing_day: int
    limits: tuple[LimitWords, ...]
    """All that bind it, its tier's included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyWords:
    """A domain's policy, in words."""

    domain: str
    subject: str
    """How a caller is told."""
    unregistered: str
    """What keys get that nobody registered."""
    missing: str
    """What callers get who send no key."""
    exempt: tuple[str, ...]
    meters: dict[str, str]
    """How each is charged: prepaid, postpaid, lease."""
    reservations: dict[str, str]
    """What becomes of reservations that nobody settles, by the meters that are counted."""
    tiers: tuple[TierWords, ...]
    keys: tuple[KeyWords, ...]
    """Those with limits of their own."""
    families: tuple[str, ...]
    report: str
    """The limit that headers show while nothing denies; empty: the tightest."""
    overrides: bool
    on_store_failure: str


def explained(policy: Policy) -> PolicyWords:
    """Return a policy in words."""
    counts = Counter(record.tier for record in policy.records.values())
    rule = policy.subject
    scheme = f", without its scheme `{rule.scheme}`" if rule.scheme else ""
    return PolicyWords(
        domain=policy.domain,
        subject=f"entry `{rule.entry}`{scheme}",
        unregistered=_verdict(rule.default_tier, "a counter for each key"),
        missing=_verdict(rule.missing, "a counter for each remote_address"),
        exempt=tuple(" and ".join(_conditions(conditions)) for conditions in policy.exempt),
        meters={meter.name: meter.kind.value for meter in policy.meters.values()},
        reservations={
            meter.name: _reserved(meter)
            for meter in policy.meters.values()
            if meter.kind is not MeterKind.LEASE
        },
        tiers=tuple(
            TierWords(
                name=tier.name,
                custom=tier.custom,
                keys=counts[tier.name],
                limits=_words(tier.limits),
            )
            for tier in policy.tiers.values()
        ),
        keys=tuple(_key(policy, record) for record in policy.records.values() if record.limits),
        families=tuple(family.value for family in policy.families),
        report=policy.report,
        overrides=policy.overrides,
        on_store_failure=policy.on_store_failure.value,
    )


def as_json(words: PolicyWords) -> dict[str, Any]:
    """Return the words as plain data; names and nesting stay as they are."""
    return asdict(words)


def _key(policy: Policy, record: Record) -> KeyWords:
    return KeyWords(
        key=record.subject[:_SHOWN_HASH].hex(),
        tier=record.tier,
        attributes=dict(record.attributes),
        billing_day=record.billing_day,
        limits=_words(effective_limits(policy, record)),
    )


def _reserved(meter: Meter) -> str:
    given_back = meter.on_expiry is OnExpiry.RELEASE
    return f"{_lasting(meter.reservation_us)}, then {'given back' if given_back else 'kept'}"


def _verdict(verdict: str | Verdict, counted: str) -> str:
    if isinstance(verdict, Verdict):
        return "no limits" if verdict is Verdict.ALLOW else "refused"
    return f"tier {verdict}, {counted}"


def _words(limits: Iterable[Limit]) -> tuple[LimitWords, ...]:
    return tuple(
        LimitWords(
            name=limit.name,
            meter=limit.meter.name,
            amount=limit.amount,
            window=_window(limit),
            algorithm=limit.algorithm.value,
            burst=limit.burst,
            shared_by=_sharing(limit.per),
            when=_conditions(limit.when),
            shadow=limit.shadow,
        )
        for limit in limits
    )


def _conditions(conditions: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(
        f"{name} {'like' if '*' in pattern else 'is'} {pattern or 'empty'}"
        for name, pattern in conditions
    )


def _sharing(per: tuple[str, ...]) -> str:
    if not per:
        return "everyone together"
    whose = ("key" if name == "subject" else name for name in per)
    return "each " + " and ".join(whose)


def _window(limit: Limit) -> str:
    window = limit.window
    if window is None:
        return f"at once, each for {_lasting(limit.meter.lease_us)} at most"
    if limit.algorithm is Algorithm.SLIDING_WINDOW:
        return f"in any {_length(window)}"
    if limit.algorithm is Algorithm.TOKEN_BUCKET:
        return f"spread evenly over {_length(window)}"
    if window.unit in _STARTS:
        return _STARTS[window.unit]
    if not window.months:
        return f"every {_lasting(window.length_us)}"
    start = f"day {window.anchor_day}" if window.anchor_day > 1 else "the 1st"
    january = " of January" if window.unit is Unit.YEAR else ""
    return f"each {_length(window)} from {start}{january}, 00:00 UTC"


def _length(window: Window) -> str:
    return window.unit.value if window.unit else _lasting(window.length_us)


def _lasting(length_us: int) -> str:
    seconds = length_us // _SECOND_US
    name, size = next(pair for pair in _SIZES if seconds % pair[1] == 0)
    count = seconds // size
    return f"{count} {name}{'s' if count > 1 else ''}"
