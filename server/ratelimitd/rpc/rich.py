"""Errors that say more than a status: details in the trailer `grpc-status-details-bin`.

The wire form is google.rpc.Status with BadRequest or ErrorInfo, which gRPC libraries of all
languages read. What is told are our own texts, never what was sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, Protocol

from google.protobuf.any_pb2 import Any

from ratelimitd._gen.ratelimitd.internal.v1.status_pb2 import BadRequest, ErrorInfo, Status
from ratelimitd.errors import InvalidFieldsError, RateLimitdError, ReservationOverError
from ratelimitd.rpc import status

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import grpc
    from google.protobuf.message import Message

    from ratelimitd.rpc.undelivered import Ending

    class Context(Ending, Protocol):
        """What is asked of a call, whichever the transport."""

        async def abort(
            self,
            code: grpc.StatusCode,
            details: str = "",
            trailing_metadata: Iterable[Sequence[str | bytes]] = (),
        ) -> NoReturn:
            """End the call with a status and trailers."""
            ...


TRAILER = "grpc-status-details-bin"
DOMAIN = "ratelimitd"
"""`ErrorInfo.domain`: whose reasons these are."""
REASONS: dict[type[RateLimitdError], str] = {ReservationOverError: "RESERVATION_EXPIRED"}
"""`ErrorInfo.reason` by exception; others have none."""
_TYPES = "type.googleapis.com/google.rpc."


def details(error: RateLimitdError) -> bytes:
    """Return what the trailer holds."""
    told = Status(code=status.status_of(type(error)).value[0], message=str(error))
    if isinstance(error, InvalidFieldsError):
        bad = BadRequest()
        for field, description in error.violations:
            bad.field_violations.add(field=field, description=description)
        told.details.append(_packed(bad))
    reason = REASONS.get(type(error))
    if reason is not None:
        told.details.append(_packed(ErrorInfo(reason=reason, domain=DOMAIN)))
    return told.SerializeToString()


async def abort(context: Context, error: RateLimitdError) -> NoReturn:
    """End a call with an exception's status and details."""
    code = status.status_of(type(error))
    await context.abort(code, str(error), ((TRAILER, details(error)),))
    raise AssertionError  # abort raises


def _packed(message: Message) -> Any:
    """Return a message as Google's, whose name it has behind the package."""
    name = message.DESCRIPTOR.name
    return Any(type_url=_TYPES + name, value=message.SerializeToString())
