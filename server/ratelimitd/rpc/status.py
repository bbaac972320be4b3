"""The one table from our exceptions to gRPC statuses, and the one place that applies it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import grpc

from ratelimitd import errors

if TYPE_CHECKING:
    from ratelimitd.rpc.ratelimit import Context

STATUSES: dict[type[errors.RateLimitdError], grpc.StatusCode] = {
    errors.RateLimitdError: grpc.StatusCode.INTERNAL,
    errors.InvalidRequestError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.InvalidFieldsError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.ReservationOverError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.RequestTooLargeError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.AccountError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.KeyNotFoundError: grpc.StatusCode.NOT_FOUND,
    errors.KeyExistsError: grpc.StatusCode.ALREADY_EXISTS,
    errors.RecordChangedError: grpc.StatusCode.ABORTED,
    errors.KeyRefusedError: grpc.StatusCode.PERMISSION_DENIED,
    errors.TooManyAlertsError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.ColdKeysError: grpc.StatusCode.INTERNAL,
    errors.SettingsError: grpc.StatusCode.INTERNAL,
    errors.PolicyError: grpc.StatusCode.INTERNAL,
    errors.StoreError: grpc.StatusCode.UNAVAILABLE,
    errors.StoreTimeoutError: grpc.StatusCode.UNAVAILABLE,
    errors.StoreUnavailableError: grpc.StatusCode.UNAVAILABLE,
    errors.StoreNotAskedError: grpc.StatusCode.UNAVAILABLE,
    errors.UnreachableError: grpc.StatusCode.UNAVAILABLE,
}
"""Every exception of ours and the status a caller sees."""


def status_of(kind: type[errors.RateLimitdError]) -> grpc.StatusCode:
    """Return an exception's status; one without a row has that of what it is a kind of."""
    return next(STATUSES[each] for each in kind.__mro__ if each in STATUSES)


async def abort(context: Context, error: errors.RateLimitdError) -> NoReturn:
    """End a call with the status of an exception; its text is meant for callers."""
    await context.abort(status_of(type(error)), str(error))
    raise AssertionError  # abort raises
