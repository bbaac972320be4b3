"""What can go wrong for a service that asks. A denial is a value; contexts raise it all the same.

Each docstring begins with *Expected* and says who must act. No text holds an API key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ratelimitd.client.values import Decision


class LimiterError(Exception):
    """Expected: the limiter refused the call (another service, no permission). Operators act."""


class LimiterAwayError(LimiterError):
    """Expected: no answer within the deadline, and `when_away` is `raise`. The caller decides."""


class InvalidCallError(LimiterError):
    """Expected: the call has a mistake; its developer must act. Nothing was charged."""

    def __init__(self, message: str, violations: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message, violations)
        self.violations = violations
        """Field (`asks[1].meter`) and what is wrong with it."""

    def __str__(self) -> str:
        return str(self.args[0])


class DeniedError(LimiterError):
    """Expected: a lease or a reservation was not granted. The caller must wait, or give up."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision.message or "denied")
        self.decision = decision


class ReservationExpiredError(LimiterError):
    """Expected: settled too late. The service must settle sooner, or the policy allow more time."""
