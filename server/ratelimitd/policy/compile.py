"""From the parts of a policy file to a `Policy`: meters, tiers, the subject's rule, headers.

Owns the relations between parts and what the defaults are. Every fault goes to the report; a policy
comes out only where there is none.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from ratelimitd.model import Meter, MeterKind
from ratelimitd.policy.checks import width_of
from ratelimitd.policy.faults import nearest
from ratelimitd.policy.limits import Limits, Meters, distinct
from ratelimitd.policy.meters import DEFAULT_LEASE_US, MeterRule
from ratelimitd.policy.reach import Conditions, Scope, check_exemption
from ratelimitd.policy.records import (
    PlacedTier,
    Records,
    attribute_names,
    check_attribute_names,
    unknown_tier,
)
from ratelimitd.policy.spec import Family, OnStoreFailure, Policy, SubjectRule, Tier, Verdict
from ratelimitd.policy.tree import Word, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ratelimitd.keys import Hasher
    from ratelimitd.model import Limit, Subject
    from ratelimitd.policy.faults import Report
    from ratelimitd.policy.shape import PolicyPart
    from ratelimitd.policy.spec import Record

DEFAULT_METERS = MappingProxyType(
    {
        "requests": MeterRule(MeterKind.PREPAID),
        "tokens": MeterRule(MeterKind.POSTPAID),
        "concurrent": MeterRule(MeterKind.LEASE, DEFAULT_LEASE_US),
    }
)
"""The meters of a policy that names none."""
_ADDRESSES = frozenset({"remote_address", "masked_remote_address"})
"""Entries by which Envoy tells where a request comes from, whatever its key."""
_TIER_WORDS = ("custom", "limits")


def compiled(part: PolicyPart, report: Report, hasher: Hasher) -> Policy | None:
    """Return the policy, or None where something is wrong with it."""
    meters = _meters(part, report)
    names = attribute_names(part.keys)
    for name in filter(None, part.attributes):
        names.setdefault(name, name)
    scope = Scope(report, str(part.subject.entry or ""), frozenset(names))
    check_attribute_names(report, names, scope.entry)
    scope = scope._replace(exempt=_exempt(part, scope))
    limits = Limits(scope, meters)
    tiers = _tiers(part, limits)
    subject = _subject(part, tiers, report)
    _check_addresses(subject, tiers, report)
    records = Records(limits, tiers, hasher, subject.scheme).made(part.keys)
    _check_report(part, limits, tiers, records)
    if report.failed:
        return None
    return Policy(
        domain=str(part.domain),
        subject=subject,
        meters=MappingProxyType(dict(meters.known)),
        tiers=MappingProxyType({name: placed.tier for name, placed in tiers.items()}),
        records=MappingProxyType(records),
        exempt=scope.exempt,
        families=tuple(dict.fromkeys(Family(word) for word in part.headers.families if word)),
        report=str(part.headers.report or ""),
        overrides=bool(part.overrides),
        on_store_failure=OnStoreFailure(part.on_store_failure or OnStoreFailure.LOCAL.value),
        attributes=scope.attributes,
    )


def _meters(part: PolicyPart, report: Report) -> Meters:
    known = {name: _meter(name, rule) for name, rule in DEFAULT_METERS.items()}
    doubtful = set()
    for word, rule in part.meters.items():
        if word in _TIER_WORDS:
            text = f"`{word}` is a word of every tier; give the meter another name"
            report.fault("reserved-name", word.at, text, width=len(word))
        if rule is None or not word:  # faulty, which has been reported
            known.pop(str(word), None)
            doubtful.add(str(word))
        else:
            known[str(word)] = _meter(str(word), rule)
    return Meters(known, frozenset(doubtful))


def _meter(name: str, rule: MeterRule) -> Meter:
    return Meter(name=name, **rule._asdict())


def _exempt(part: PolicyPart, scope: Scope) -> tuple[Conditions, ...]:
    rules: tuple[Conditions, ...] = ()
    for table in part.exempt:
        when = {name: said for name, said in table.items() if said is not None}
        if len(when) == len(table):
            check_exemption(scope._replace(exempt=rules), when, _start(when))
            rules += (tuple((str(name), str(said)) for name, said in when.items()),)
    return rules


def _start(when: Mapping[Word, Word]) -> int:
    return next((name.at for name in when), 0)


def _tiers(part: PolicyPart, limits: Limits) -> dict[str, PlacedTier]:
    tiers = {}
    for word, tier in part.tiers.items():
        if word in {verdict.value for verdict in Verdict}:
            text = f"`{word}` stands for no tier at all; give the tier another name"
            limits.scope.report.fault("reserved-name", word.at, text, width=len(word))
        placed = limits.short(tier.__pydantic_extra__) + limits.long(tier.limits)
        distinct(limits.scope.report, placed)
        made = Tier(
            name=str(word),
            limits=tuple(one.limit for one in placed),
            custom=bool(tier.custom),
        )
        tiers[made.name] = PlacedTier(made, placed)
    return tiers


def _subject(part: PolicyPart, tiers: Mapping[str, PlacedTier], report: Report) -> SubjectRule:
    said = part.subject
    default = _rule(said.default_tier, (Verdict.DENY,), tiers, report)
    missing = default
    if said.missing is not None:
        missing = _rule(said.missing, (Verdict.ALLOW, Verdict.DENY), tiers, report)
    return SubjectRule(
        entry=str(said.entry or ""),
        scheme=str(said.scheme or "").lower(),
        default_tier=default,
        missing=missing,
    )


def _check_addresses(subject: SubjectRule, tiers: Mapping[str, PlacedTier], report: Report) -> None:
    """Warn of a meter that counts addresses only, where descriptors without a key have no tier."""
    if not isinstance(subject.missing, Verdict):
        return
    placed = [one for tier in tiers.values() for one in tier.placed]
    by_key = {one.limit.meter.name for one in placed if not _by_address(one.limit)}
    for one in placed:
        if one.limit.meter.name not in by_key:
            text = (
                "Descriptors without a key meet no limit; let `missing` name a tier that has this"
            )
            report.warn("keyless-limit", one.at, text, width=one.width)


def _by_address(limit: Limit) -> bool:
    return bool(limit.per) and _ADDRESSES.issuperset(limit.per)


def _rule(
    word: Word | None,
    verdicts: tuple[Verdict, ...],
    tiers: Mapping[str, PlacedTier],
    report: Report,
) -> str | Verdict:
    """Return a tier's name or a verdict; DENY where it is faulty, which nobody will get to see."""
    verdict = next((verdict for verdict in verdicts if verdict.value == word), None)
    if word is None or verdict is not None:
        return verdict or Verdict.DENY
    placed = tiers.get(word)
    if placed is None:
        unknown_tier(report, word, tiers, also=verdicts[-1].value)
        return Verdict.DENY
    if placed.tier.custom:
        text = f"`{word}` is custom, and these callers have no record that could bring limits"
        report.fault("custom-default", word.at, text, width=width_of(word))
    return placed.tier.name


def _check_report(
    part: PolicyPart,
    limits: Limits,
    tiers: Mapping[str, PlacedTier],
    records: Mapping[Subject, Record],
) -> None:
    """Report a `report` that no caller has, or that is never shown."""
    word = part.headers.report
    if word is None or limits.doubtful:
        return
    own = {record.limits for record in records.values()}
    all_limits = [limit for placed in tiers.values() for limit in placed.tier.limits]
    all_limits += [limit for group in own for limit in group]
    shown = {limit.name for limit in all_limits if not limit.shadow}
    if word in shown:
        return
    shadow = any(limit.name == word for limit in all_limits)
    why = "a shadow limit, which is never shown" if shadow else "no tier's or key's limit"
    text = f"`{printable(word)}` is {why}; name one that is"
    limits.scope.report.fault(
        "unknown-limit", word.at, text, width=width_of(word), nearest=nearest(word, shown)
    )
