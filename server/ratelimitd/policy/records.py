"""Keys that the policy file itself knows: subjects, attributes, own limits, billing days.

Hashes keys as it reads them; none is kept. Fast, because a file may hold 100,000 of them.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from ratelimitd.model import Subject
from ratelimitd.policy.effective import on_billing_day
from ratelimitd.policy.faults import nearest
from ratelimitd.policy.limits import Limits, Placed, distinct
from ratelimitd.policy.reach import check_own
from ratelimitd.policy.shape import KeyPart
from ratelimitd.policy.spec import CONTROL_ENTRIES, Record
from ratelimitd.policy.tree import Word, printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ratelimitd.keys import Hasher
    from ratelimitd.model import Limit
    from ratelimitd.policy.faults import Report
    from ratelimitd.policy.spec import Tier

_RESERVED = CONTROL_ENTRIES | {"subject", "remote_address"}
_LIKENESS = 0.75
_NONE: Mapping[str, str] = MappingProxyType({})


class PlacedTier(NamedTuple):
    """A tier, and where its limits stand."""

    tier: Tier
    placed: list[Placed]


def attribute_names(parts: Sequence[KeyPart]) -> dict[str, Word]:
    """Return each attribute's name, as it stands in the file first."""
    names: dict[str, Word] = {}
    for part in parts:
        for name in part.__pydantic_extra__:
            names.setdefault(name, name)
    return names


def check_attribute_names(report: Report, names: Mapping[str, Word], entry: str) -> None:
    """Report attributes that would hide an entry, or whose name is nearly another word."""
    for name in names.values():
        close = nearest(name, KeyPart.model_fields, likeness=_LIKENESS)
        if name in _RESERVED or name == entry:
            text = f"`{name}` is an entry that means something else; rename the attribute"
            report.fault("reserved-name", name.at, text, width=len(name))
        elif close:
            text = f"`{printable(name)}` is taken for an attribute of the key"
            report.warn("likely-typo", name.at, text, width=len(name), nearest=close)


class Records:
    """Makes the records of one policy."""

    def __init__(
        self, limits: Limits, tiers: Mapping[str, PlacedTier], hasher: Hasher, scheme: str
    ) -> None:
        self._limits = limits
        self._report = limits.scope.report
        self._tiers = tiers
        self._hasher = hasher
        self._scheme = f"{scheme.lower()} "
        self._places: dict[Subject, int] = {}
        self._own: dict[tuple[Limit, ...], tuple[Limit, ...]] = {}

    def made(self, parts: Sequence[KeyPart]) -> dict[Subject, Record]:
        """Return the records by subject; those that are faulty are reported and left out."""
        records = (self._record(part) for part in parts)
        return {record.subject: record for record in records if record is not None}

    def _record(self, part: KeyPart) -> Record | None:
        attributes = part.__pydantic_extra__
        own = self._own_limits(part, attributes) if part.limits else ()
        tier = self._tier(part, own)
        subject = self._subject(part)
        if subject is None or tier is None:
            return None
        return Record(
            subject=subject,
            tier=tier,
            attributes=_texts(attributes) if attributes else _NONE,
            limits=own,
            billing_day=part.billing_day or 1,
        )

    def _subject(self, part: KeyPart) -> Subject | None:
        given = part.model_fields_set & {"key", "key_hash"}
        said = part.key_hash if part.key is None else part.key
        if len(given) != 1 or part.key == "":
            at = part.tier if said is None else said
            if at is not None:
                text = "A key has either `key` or `key_hash`, and it is not empty; write one"
                self._report.fault("key-or-hash", at.at, text)
            return None
        if said is None:
            return None
        if part.key is None:
            subject = Subject(bytes.fromhex(said))
        else:
            subject = self._hasher.key(part.key)
            if self._scheme != " " and part.key[: len(self._scheme)].lower() == self._scheme:
                text = "The scheme is taken off before keys are compared; write the key alone"
                self._report.warn("scheme-in-key", said.at, text, width=len(said))
            elif self._scheme != " " and (" " in said or "\t" in said):
                text = "This never matches: with a `scheme`, a key is one word"
                self._report.fault("never-matches", said.at, text, width=len(said))
        first = self._places.setdefault(subject, said.at)
        if first != said.at:
            text = "The same API key stands above already; remove one of the two"
            self._report.fault("duplicate-subject", said.at, text, width=len(said), other=first)
        return subject

    def _tier(self, part: KeyPart, own: tuple[Limit, ...]) -> str | None:
        word = part.tier
        if word is None:
            return None
        known = self._tiers.get(word)
        if known is None:
            unknown_tier(self._report, word, self._tiers)
            return None
        if known.tier.custom and not own and not part.limits:
            text = f"The tier `{word}` is custom: give this key at least one limit of its own"
            self._report.fault("no-own-limits", word.at, text, width=len(word))
        return known.tier.name

    def _own_limits(
        self, part: KeyPart, attributes: Mapping[Word, Word | None]
    ) -> tuple[Limit, ...]:
        if isinstance(part.limits, dict):
            placed = self._limits.short(part.limits)
        else:
            placed = self._limits.long(part.limits)
            known = {str(name): str(said) for name, said in attributes.items() if said is not None}
            for limit in part.limits:
                when = {name: said for name, said in limit.when.items() if said is not None}
                check_own(self._limits.scope, when, known)
        self._check(part, placed)
        own = tuple(one.limit for one in placed)
        if part.billing_day and part.billing_day != 1:
            own = on_billing_day(own, part.billing_day)
        return self._own.setdefault(own, own)

    def _check(self, part: KeyPart, placed: list[Placed]) -> None:
        replaced = {one.limit.meter.name for one in placed}
        known = self._tiers.get(part.tier) if part.tier is not None else None
        rest = known.placed if known is not None else []
        distinct(
            self._report, [*placed, *(one for one in rest if one.limit.meter.name not in replaced)]
        )


def unknown_tier(report: Report, word: Word, tiers: Mapping[str, object], also: str = "") -> None:
    """Report a tier that no tier is; silently where the tiers themselves could not be read."""
    if not tiers and report.failed:
        return
    choices = [*tiers, also] if also else list(tiers)
    text = f"`{printable(word)}` is no tier; name it under `tiers`, or mend its spelling"
    close = nearest(word, choices)
    report.fault("unknown-tier", word.at, text, width=len(word), nearest=close)


def _texts(attributes: Mapping[Word, Word | None]) -> Mapping[str, str]:
    return MappingProxyType({str(name): str(said) for name, said in attributes.items()})
