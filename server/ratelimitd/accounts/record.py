"""What is known of a registered key, as it is kept: one value, and its spelling as JSON.

Limits are kept in the words of a policy file, because what they mean is the policy's to say
(`meaning`). Knows no store. The key itself is nowhere: a record has its keyed hash.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ratelimitd.model import OWN, Subject

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnLimit:
    """A limit of a key's own, in the words of a policy's long form."""

    meter: str
    rate: str
    """`20_000/hour`; of a meter that is held, the amount alone."""
    algorithm: str = ""
    """Empty: the meter's usual one."""
    burst: int = 0
    when: tuple[tuple[str, str], ...] = ()
    per: tuple[str, ...] = OWN
    name: str = ""
    shadow: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Boost:
    """More than usual, until a date."""

    until: int
    """Microseconds since the epoch."""
    factor: str = ""
    """What all limits are multiplied by, as `1.5`; empty: nothing."""
    limits: tuple[OwnLimit, ...] = ()
    """Replace, while it lasts, all limits of the meters they name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is known of a key."""

    subject: Subject
    tier: str
    limits: tuple[OwnLimit, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """org, project, …"""
    billing_day: int = 1
    note: str = ""
    """For people; no rule sees it."""
    expires: int = 0
    """Microseconds since the epoch; 0: never."""
    is_disabled: bool = False
    """Refused until it is enabled again."""
    is_revoked: bool = False
    """Refused for good."""
    boost: Boost | None = None
    version: int = 0
    """Grows with each change; 0: not registered yet."""

    def refusal(self, now: int) -> str:
        """Say why the key is refused whatever it asks; empty for a good one."""
        if self.is_revoked:
            return "revoked"
        if self.is_disabled:
            return "disabled"
        return "expired" if 0 < self.expires <= now else ""

    def boosted(self, now: int) -> Boost | None:
        """Return the boost, where there is one at present."""
        return self.boost if self.boost is not None and now < self.boost.until else None

    def changes_at(self, now: int) -> int:
        """Return the next instant at which time alone changes what it means; 0: none."""
        instants = (self.expires, self.boost.until if self.boost else 0)
        return min((each for each in instants if each > now), default=0)


def as_dict(value: Record | Boost | OwnLimit) -> dict[str, Any]:
    """Return what is not as usual; subject and version are a store's to keep beside it."""
    told: dict[str, Any] = {}
    for each in fields(value):
        name, said = each.name, getattr(value, each.name)
        if name in {"subject", "version"} or (not said and name != "per") or said == each.default:
            continue
        if name == "limits":
            said = [as_dict(limit) for limit in said]
        elif isinstance(said, Boost):
            said = as_dict(said)
        elif name in {"attributes", "when"}:
            said = dict(said)
        told[name] = list(said) if name == "per" else said
    return told


def dumps(record: Record) -> str:
    """Spell a record."""
    return json.dumps(as_dict(record), separators=(",", ":"))


def loads(subject: bytes, version: int, text: str | bytes) -> Record:
    """Read a record; words of newer releases are passed over."""
    said = _known(Record, json.loads(text))
    said["limits"] = _limits(said.get("limits", ()))
    said["attributes"] = MappingProxyType(said.get("attributes", {}))
    boost = said.get("boost")
    if boost is not None:
        boost = _known(Boost, boost)
        said["boost"] = Boost(**{**boost, "limits": _limits(boost.get("limits", ()))})
    return Record(**{**said, "subject": Subject(subject), "version": version})


def _limits(said: list[dict[str, Any]]) -> tuple[OwnLimit, ...]:
    return tuple(
        OwnLimit(
            **{
                **_known(OwnLimit, each),
                "when": tuple(sorted(each.get("when", {}).items())),
                "per": tuple(each.get("per", OWN)),
            }
        )
        for each in said
    )


def _known(kind: type[Any], said: dict[str, Any]) -> dict[str, Any]:
    names = {each.name for each in fields(kind)}
    return {name: value for name, value in said.items() if name in names}
