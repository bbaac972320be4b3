"""What can go wrong, as exceptions. A denial is not among them: it is a value (`model.Decision`).

Every docstring begins with *Expected* (the outside did it: a caller, an operator, a network) or
*Unexpected* (we did it), and says who must act. `rpc/status.py` maps each to a gRPC status.
This module imports nothing of ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class RateLimitdError(Exception):
    """Unexpected when raised as itself: always raise one of the kinds below."""


class InvalidRequestError(RateLimitdError):
    """Expected: a call that only an operator's configuration can produce (empty domain or list).

    The operator of the calling proxy must act. Customers cannot cause it.
    """


class InvalidFieldsError(InvalidRequestError):
    """Expected: a service's call with a mistake in it. Its developer must act, and is told where.

    Texts are ours: they never hold what was sent.
    """

    def __init__(self, message: str, violations: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message, violations)
        self.violations = violations

    def __str__(self) -> str:
        return str(self.args[0])

    @classmethod
    def of(cls, *violations: tuple[str, str]) -> InvalidFieldsError:
        """Name each field at fault (`asks[1].meter`; empty: the whole request) and what is."""
        told = (f"{field}: {text}" if field else text for field, text in violations)
        return cls("; ".join(told), violations)

    def within(self, part: str) -> InvalidFieldsError:
        """Return the same of a part of a request."""
        return self.of(*((f"{part}.{field}", text) for field, text in self.violations))


class ReservationOverError(RateLimitdError):
    """Expected: a settlement that comes after its reservation's expiry.

    The service must settle sooner, or the policy's author lets reservations live longer.
    """


class RequestTooLargeError(RateLimitdError):
    """Expected: more than 64 descriptors, or more than 64 entries in one. The operator must act."""


class AccountError(RateLimitdError):
    """Expected: a change or a question about a key that its state does not allow."""


class KeyNotFoundError(AccountError):
    """Expected: nobody registered this key. Whoever administers keys must look which they meant."""


class KeyExistsError(AccountError):
    """Expected: the key is registered already, or stands in the policy file. Change it there."""


class RecordChangedError(AccountError):
    """Expected: somebody else changed the record meanwhile. Look at it again, then change it."""


class KeyRefusedError(AccountError):
    """Expected: the key may not call at all (revoked, expired …); its text says why."""


class TooManyAlertsError(AccountError):
    """Expected: the key has as many alerts as it may. Its owner removes one first."""


class ColdKeysError(RateLimitdError):
    """Unexpected outside of the limiter, which looks these keys up and then decides."""

    def __init__(self, message: str, subjects: Iterable[bytes] = ()) -> None:
        super().__init__(message)
        self.subjects = tuple(subjects)


class SettingsError(RateLimitdError):
    """Expected: a flag or variable that cannot work. The operator must mend it (exit 2)."""


class PolicyError(RateLimitdError):
    """Expected: faults in a policy file. Carries all of them; the policy's author must act."""

    def __init__(self, message: str, faults: tuple[object, ...] = ()) -> None:
        super().__init__(message, faults)
        self.faults = faults

    def __str__(self) -> str:
        return str(self.args[0])


class StoreError(RateLimitdError):
    """Expected: the counters could not be read or written. The failure policy decides the call."""


class StoreTimeoutError(StoreError):
    """Expected: the store was silent for longer than `--store-timeout`; the charge may have run."""


class StoreUnavailableError(StoreError):
    """Expected: the store refused, is gone, or cannot be opened. Its operator must act."""


class StoreNotAskedError(StoreUnavailableError):
    """Expected: nothing was sent to the store, which is known to be away: nothing can have run."""


class UnreachableError(RateLimitdError):
    """Expected: a command line tool could not reach the server it was told to ask (exit 69)."""
