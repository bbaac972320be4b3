"""A policy as values: what any policy format is loaded into, and the matcher reads.

Everything here is immutable and already checked; faults are found by the loaders. Formats differ in
their loader only.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ratelimitd.model import Limit, Meter, Subject

__all__ = [
    "CONTROL_ENTRIES",
    "DEFAULT_METER",
    "PATHS",
    "Family",
    "OnStoreFailure",
    "Policy",
    "Record",
    "SubjectRule",
    "Tier",
    "Verdict",
]

DEFAULT_METER = "requests"
"""The meter of a descriptor that has no `meter` entry."""
CONTROL_ENTRIES = frozenset({"meter", "lease", "phase"})
"""Entries that steer the limiter; the subject's entry is the fourth."""

PATHS = frozenset({"path", ":path"})
"""Entries that are matched without their query."""


class Verdict(enum.Enum):
    """What becomes of a caller whose tier is not looked up."""

    ALLOW = "allow"
    DENY = "deny"


class Family(enum.Enum):
    """A family of response headers."""

    X_RATELIMIT = "x-ratelimit"
    IETF = "ietf"


class OnStoreFailure(enum.Enum):
    """What a domain's calls get while the store cannot be asked (design, section 7)."""

    LOCAL = "local"
    ALLOW = "allow"
    DENY = "deny"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """A named set of limits."""

    name: str
    limits: tuple[Limit, ...]
    """In the file's order."""
    custom: bool = False
    """Its keys must bring limits of their own; a meter without one is unlimited."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is known of a key."""

    subject: Subject
    """The keyed hash of the key."""
    tier: str
    """The tier's name; always one of the policy's."""
    attributes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """org, project, …: for `per` and `when`, never taken from the wire."""
    limits: tuple[Limit, ...] = ()
    """Replace all of the tier's limits of the meters they name."""
    billing_day: int = 1
    """Calendar windows of this key begin on this day of the month."""
    refusal: str = ""
    """Why the key is refused whatever it asks (revoked, expired); empty for a good key."""
    factor: Fraction = Fraction(1)
    """What all its limits are multiplied by for a while (a boost); rounded down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectRule:
    """How a descriptor names its caller."""

    entry: str = "api_key"
    """The descriptor entry that holds the key."""
    scheme: str = ""
    """`bearer`: an Authorization value's scheme, taken off before the key is hashed."""
    default_tier: str | Verdict = Verdict.ALLOW
    """For keys without a record: a tier's name, or DENY. ALLOW: such keys have no limits."""
    missing: str | Verdict = Verdict.ALLOW
    """For descriptors without the entry: a tier's name (a counter per address), ALLOW or DENY."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One domain's rules."""

    domain: str
    subject: SubjectRule
    meters: Mapping[str, Meter]
    tiers: Mapping[str, Tier]
    records: Mapping[Subject, Record] = field(default_factory=lambda: MappingProxyType({}))
    """The keys of the policy file itself, by subject."""
    exempt: tuple[tuple[tuple[str, str], ...], ...] = ()
    """Conditions (name, pattern), all of which free the descriptor that meets them."""
    families: tuple[Family, ...] = (Family.X_RATELIMIT,)
    """Which headers decisions carry."""
    report: str = ""
    """The limit's name that headers show while nothing denies; empty: the tightest."""
    overrides: bool = False
    """Whether a descriptor's own `limit` field counts."""
    on_store_failure: OnStoreFailure = OnStoreFailure.LOCAL
    attributes: frozenset[str] = frozenset()
    """Names reserved for record attributes: an entry of that name from the wire is ignored."""
