"""What is asked and what is answered, as frozen values without protobuf. Times are seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

WhenAway = Literal["allow", "deny", "raise"]
"""What a call gets that the limiter did not answer."""


class Ask(NamedTuple):
    """What is asked of one meter."""

    meter: str = "requests"
    amount: int | None = None
    """How much; None: 1, and for a postpaid meter whether anything is left. An amount of a postpaid
    meter states what has been used, and always applies."""
    peek: bool = False
    """Only ask whether it would pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitState:
    """How one limit stands for the caller."""

    name: str
    meter: str
    limit: int
    used: int
    remaining: int
    reset_at: datetime
    """When it is whole again, UTC."""
    retry_after: float | None
    """Seconds until this call would pass it; None where it does, or never will."""
    denied: bool
    shadow: bool
    """Only watches: it denies nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A held unit of what runs at the same time."""

    id: str
    expires_at: datetime
    lasts: float
    """Seconds from the answer until it ends by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A verdict, and what it rests on."""

    allowed: bool
    reason: str = ""
    """Why not: `over_limit`, `exceeds_limit`, `key_refused`, `store_unavailable`, or `away`."""
    message: str = ""
    """The same in words for the caller."""
    retry_after: float | None = None
    """Seconds after which to try again; None where waiting does not help."""
    limits: tuple[LimitState, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    """For the customer's response, as they are."""
    body: str = ""
    """JSON, of a 429; empty when allowed."""
    lease: Lease | None = None
    away: bool = False
    """Nobody decided: the limiter did not answer, and `when_away` says what becomes of the call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """An estimate that was charged."""

    id: str
    expires_at: datetime
    lasts: float
    """Seconds from the answer during which it can be settled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What came of settling a reservation."""

    settled: bool
    """This call did it. False: it had been settled before, or there was nothing to settle."""
    limits: tuple[LimitState, ...] = ()
