"""Meters: what is counted, and how it is charged. A leaf, of which `model` is made."""

from __future__ import annotations

import enum
from dataclasses import dataclass

RESERVED_US = 15 * 60 * 1_000_000
"""How long a reservation can be settled unless its meter says otherwise, microseconds."""


class MeterKind(enum.Enum):
    """How a meter is charged."""

    PREPAID = "prepaid"
    """Allowed when used + hits <= amount; charged before the request runs."""
    POSTPAID = "postpaid"
    """Allowed while used < amount; charged when the response ends, may run into debt."""
    LEASE = "lease"
    """Held from request to response."""


class OnExpiry(enum.Enum):
    """What becomes of a reservation that nobody settles."""

    KEEP = "keep"
    """The estimate stays charged."""
    RELEASE = "release"
    """It is given back when the reservation expires."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """What is counted: requests, tokens, requests in flight."""

    name: str
    """As policy files and `meter` entries spell it."""
    kind: MeterKind
    """How it is charged."""
    lease_us: int = 0
    """How long a lease lives without renewal, microseconds. Only for `MeterKind.LEASE`."""
    reservation_us: int = RESERVED_US
    """How long a reservation of it can be settled, microseconds. Not for `MeterKind.LEASE`."""
    on_expiry: OnExpiry = OnExpiry.KEEP
    """What becomes of one that is not settled."""

    def __post_init__(self) -> None:
        if not self.name:
            msg = "a meter needs a name"
            raise ValueError(msg)
        if (self.kind is MeterKind.LEASE) != (self.lease_us > 0):
            msg = f"meter {self.name}: lease meters, and only they, have a positive lease time"
            raise ValueError(msg)
        if self.reservation_us <= 0:
            msg = f"meter {self.name}: a reservation lasts for some time"
            raise ValueError(msg)
