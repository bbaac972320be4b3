"""What is wrong with a record, before it is written: every mistake at once, each with its field.

Pure. Judges by the policies that are served now; a policy that changes later is read leniently
(`meaning`).
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from ratelimitd import keys
from ratelimitd.accounts.meaning import MOST_FACTOR, limit_of, meaning
from ratelimitd.errors import InvalidFieldsError
from ratelimitd.policy.effective import effective_limits
from ratelimitd.policy.faults import nearest
from ratelimitd.policy.matcher import named_entries
from ratelimitd.policy.spec import CONTROL_ENTRIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ratelimitd.accounts.record import OwnLimit, Record
    from ratelimitd.policy.spec import Policy

LONGEST_NOTE = 1_000
LONGEST_VALUE = 256
MOST_LIMITS = 32
_DAYS = range(1, 32)

Violation = tuple[str, str]


def check(record: Record, policies: Sequence[Policy], now: int) -> None:
    """Raise `InvalidFieldsError` with all that is wrong with a record."""
    found = list(_plain(record, policies))
    of_tier = [policy for policy in policies if record.tier in policy.tiers]
    if not of_tier:
        tiers = sorted({name for policy in policies for name in policy.tiers})
        close = nearest(record.tier, tiers)
        meant = f"did you mean `{close}`?" if close else f"one of {', '.join(tiers)}"
        found.append(("tier", f"no policy has this tier: {meant}"))
    boosts = record.boost.limits if record.boost is not None else ()
    for field, limits in (("limits", record.limits), ("boost.limits", boosts)):
        if len(limits) > MOST_LIMITS:
            found.append((field, f"at most {MOST_LIMITS}"))
        for at, limit in enumerate(limits[:MOST_LIMITS]):
            found += _limit(f"{field}[{at}]", limit, of_tier)
    if of_tier and not found:
        found += _together(record, of_tier, now)
    if found:
        raise InvalidFieldsError.of(*found)


def _plain(record: Record, policies: Sequence[Policy]) -> Iterable[Violation]:
    if record.billing_day not in _DAYS:
        yield "billing_day", "a day of the month, 1 to 31"
    if len(record.note) > LONGEST_NOTE:
        yield "note", f"at most {LONGEST_NOTE} characters"
    declared = {name for policy in policies for name in policy.attributes}
    for name, value in record.attributes.items():
        if name not in declared:
            text = "no policy declares this attribute, so callers could invent it: name it under "
            yield f"attributes[{name}]", f"{text}`attributes`"
        elif not value or len(value) > LONGEST_VALUE or not value.isprintable():
            yield f"attributes[{name}]", f"1 to {LONGEST_VALUE} printable characters"
    if record.boost is not None:
        yield from _factor(record.boost.factor)
        if not record.boost.factor and not record.boost.limits:
            yield "boost", "say by what: a factor, or limits"


def _factor(text: str) -> Iterable[Violation]:
    try:
        good = not text or (len(text) <= 16 and 0 < Fraction(text) <= MOST_FACTOR)  # noqa: PLR2004
    except (ValueError, ZeroDivisionError):
        good = False
    if not good:
        yield "boost.factor", f"a number over 0, at most {MOST_FACTOR}, as `1.5`"


def _limit(field: str, limit: OwnLimit, policies: Sequence[Policy]) -> Iterable[Violation]:
    having = [policy for policy in policies if limit.meter in policy.meters]
    if policies and not having:
        meters = sorted({name for policy in policies for name in policy.meters})
        yield f"{field}.meter", f"the tier's policy has no such meter: one of {', '.join(meters)}"
    for policy in having:
        try:
            limit_of(limit, policy.meters[limit.meter])
        except ValueError as error:
            yield f"{field}.rate", str(error)
            return
        known = (named_entries(policy) | policy.attributes) - {policy.subject.entry}
        for name in [name for name, _ in limit.when] + list(limit.per):
            if name == "subject" and name in limit.per:
                continue
            if name not in known - CONTROL_ENTRIES:
                text = "no rule of the policy looks at this entry, and it is no attribute"
                yield f"{field}[{name}]", text
                return


def _together(record: Record, policies: Sequence[Policy], now: int) -> Iterable[Violation]:
    """Yield what is wrong with all limits of a key together."""
    for policy in policies:
        tier = policy.tiers[record.tier]
        if tier.custom and not record.limits:
            text = f"the tier `{tier.name}` is custom: give this key at least one limit of its own"
            yield "limits", text
            return
        understood = meaning(record, policy, now)
        limits = effective_limits(policy, understood) if understood is not None else ()
        families = {keys.family("", limit) for limit in limits}
        names = {limit.name for limit in limits}
        if min(len(families), len(names)) < len(limits):
            yield "limits", "two of them count on the same counters, or have the same name"
            return
