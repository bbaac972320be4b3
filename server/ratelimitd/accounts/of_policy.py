"""The policy file's own keys, told as records: they are read by the same commands. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ratelimitd.accounts.record import OwnLimit, Record
from ratelimitd.accounts.records import Page
from ratelimitd.model import usual_algorithm, usual_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ratelimitd.model import Limit, Subject
    from ratelimitd.policy import spec
    from ratelimitd.policy.matcher import Matcher


def in_policy(matchers: Mapping[str, Matcher], subjects: Sequence[Subject]) -> Record | None:
    """Return the record of a key that stands in a policy file."""
    for matcher in matchers.values():
        for subject in subjects:
            record = matcher.policy.records.get(subject)
            if record is not None:
                return _told(record)
    return None


def merged(
    page: Page, matchers: Mapping[str, Matcher], after: bytes, most: int, tier: str
) -> tuple[Page, set[Subject]]:
    """Return a page of the registry with the policy's keys among it, and which those are."""
    ours: dict[Subject, spec.Record] = {}
    for matcher in matchers.values():
        for subject, record in matcher.policy.records.items():
            is_here = subject > after and (not page.after or subject <= page.after)
            if is_here and tier in {"", record.tier}:
                ours.setdefault(subject, record)
    theirs = [record for record in page.records if record.subject not in ours]
    both = sorted([*theirs, *map(_told, ours.values())], key=lambda record: record.subject)
    if len(both) > most:
        return Page(both[:most], both[most - 1].subject), set(ours)
    return Page(both, page.after), set(ours)


def _told(record: spec.Record) -> Record:
    return Record(
        subject=record.subject,
        tier=record.tier,
        limits=tuple(map(_own, record.limits)),
        attributes=record.attributes,
        billing_day=record.billing_day,
    )


def _own(limit: Limit) -> OwnLimit:
    return OwnLimit(
        meter=limit.meter.name,
        rate=f"{limit.amount}/{limit.window.name}" if limit.window else str(limit.amount),
        algorithm="" if limit.algorithm is usual_algorithm(limit.meter) else limit.algorithm.value,
        burst=limit.burst,
        when=limit.when,
        per=limit.per,
        name="" if limit.name == usual_name(limit.meter, limit.window) else limit.name,
        shadow=limit.shadow,
    )
