"""Values as messages, messages as values, and errors as ours: all that the client knows of gRPC.

Shared by the threaded client and the asyncio one, which only differ in how they wait.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc

from ratelimitd._gen.ratelimitd.internal.v1.status_pb2 import BadRequest, Status
from ratelimitd._gen.ratelimitd.v1 import limiter_pb2 as pb
from ratelimitd.client.errors import (
    InvalidCallError,
    LimiterAwayError,
    LimiterError,
    ReservationExpiredError,
)
from ratelimitd.client.values import Ask, Decision, Lease, LimitState, Reservation, Settlement

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from google.protobuf.timestamp_pb2 import Timestamp

    from ratelimitd.client.values import WhenAway

DEADLINE = 0.25
"""Seconds that a call may take. A limiter answers within milliseconds, or something is wrong."""
OPTIONS = (
    ("grpc.enable_retries", 0),  # a call that may have been counted is not sent twice
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),  # grpcio's own would be two minutes
)
SETTLE_TRIES = 3
"""Times that a settlement is sent, which is safe to repeat."""
SETTLE_PAUSE = 0.1
"""Seconds between two of them."""
AWAY_WAIT = 1.0
"""Seconds after which a caller may try again whom nobody could decide about."""
AWAY = "rate limits cannot be checked at present"

_NOT_AWAY = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
}
"""Statuses by which somebody who answers refuses; after all others nobody has decided."""
_TRAILER = "grpc-status-details-bin"
_BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
_PREFIX = len("REASON_")


class Caller(NamedTuple):
    """Who asks, and what the policy looks at: the same for a lease and for its release."""

    domain: str
    key: str | None
    subject: str | None
    entries: Mapping[str, str]

    def fields(self) -> dict[str, Any]:
        """Return the fields that all requests have."""
        found: dict[str, Any] = {"domain": self.domain, "entries": dict(self.entries)}
        if self.key is not None:
            found["api_key"] = self.key
        elif self.subject is not None:
            found["subject"] = self.subject
        return found


def decide(caller: Caller, asks: Iterable[Ask | str]) -> pb.DecideRequest:
    """Return the request that asks all of this."""
    request = pb.DecideRequest(**caller.fields())
    for ask in asks:
        meter, amount, peek = Ask(ask) if isinstance(ask, str) else ask
        request.asks.add(meter=meter, amount=amount, peek=peek)
    return request


def release(caller: Caller, lease_id: str) -> pb.ReleaseRequest:
    """Return the request that gives a lease back."""
    return pb.ReleaseRequest(**caller.fields(), lease_id=lease_id)


def renew(caller: Caller, lease_id: str) -> pb.RenewRequest:
    """Return the request that keeps a lease."""
    return pb.RenewRequest(**caller.fields(), lease_id=lease_id)


def reserve(caller: Caller, estimates: Mapping[str, int]) -> pb.ReserveRequest:
    """Return the request that charges an estimate."""
    return pb.ReserveRequest(**caller.fields(), estimates=_amounts(estimates))


def settle(reservation_id: str, actual: Mapping[str, int]) -> pb.SettleRequest:
    """Return the request that settles a reservation."""
    return pb.SettleRequest(reservation_id=reservation_id, actual=_amounts(actual))


def _amounts(amounts: Mapping[str, int]) -> list[pb.Amount]:
    return [pb.Amount(meter=meter, amount=amount) for meter, amount in amounts.items()]


def decision(said: pb.Decision, held: pb.Lease | None = None) -> Decision:
    """Return a verdict; `held`, where the answer has a lease."""
    return Decision(
        allowed=said.allowed,
        reason="" if said.allowed else _reason(said.reason),
        message=said.message,
        retry_after=_seconds(said.retry_after) if said.HasField("retry_after") else None,
        limits=_limits(said.limits),
        headers=tuple((header.name, header.value) for header in said.headers),
        body=said.body,
        lease=None if held is None else lease(held),
    )


def _reason(code: int) -> str:
    known = code in pb.Reason.values()  # a newer limiter may have more of them
    return pb.Reason.Name(pb.Reason.ValueType(code))[_PREFIX:].lower() if known else "other"


def decided(answer: pb.DecideResponse) -> Decision:
    """Return what `Decide` answered."""
    return decision(answer.decision, answer.lease if answer.HasField("lease") else None)


def lease(said: pb.Lease) -> Lease:
    """Return a lease."""
    return Lease(id=said.id, expires_at=_instant(said.expires_at), lasts=_seconds(said.lasts))


def reservation(said: pb.Reservation) -> Reservation:
    """Return a reservation."""
    return Reservation(id=said.id, expires_at=_instant(said.expires_at), lasts=_seconds(said.lasts))


def settlement(said: pb.SettleResponse) -> Settlement:
    """Return what came of a settlement."""
    return Settlement(settled=said.outcome == pb.OUTCOME_SETTLED, limits=_limits(said.limits))


def _limits(said: Iterable[pb.LimitState]) -> tuple[LimitState, ...]:
    return tuple(
        LimitState(
            name=each.name,
            meter=each.meter,
            limit=each.limit,
            used=each.used,
            remaining=each.remaining,
            reset_at=_instant(each.reset_at),
            retry_after=_seconds(each.retry_after) if each.HasField("retry_after") else None,
            denied=each.denied,
            shadow=each.shadow,
        )
        for each in said
    )


def _instant(said: Timestamp) -> datetime:
    return datetime.fromtimestamp(said.seconds, UTC) + timedelta(microseconds=said.nanos // 1000)


def _seconds(said: Any) -> float:  # noqa: ANN401 - a Duration
    return float(said.seconds + said.nanos / 1e9)


def is_away(error: grpc.RpcError) -> bool:
    """Say whether nobody has decided."""
    return error.code() not in _NOT_AWAY


def undecided(error: grpc.RpcError, when_away: WhenAway) -> Decision:
    """Return what becomes of a call that failed. Raises what it is where it cannot go on."""
    if not is_away(error) or when_away == "raise":
        raise raised(error) from error
    if when_away == "allow":
        return Decision(allowed=True, away=True)
    details = {"retry_after": int(AWAY_WAIT), "reason": "away"}
    said = {"code": "RATE_LIMIT_EXCEEDED", "message": AWAY, "details": details, "status": 429}
    return Decision(
        allowed=False,
        reason="away",
        message=AWAY,
        retry_after=AWAY_WAIT,
        headers=(("Retry-After", str(int(AWAY_WAIT))), ("content-type", "application/json")),
        body=json.dumps({"error": said}),
        away=True,
    )


def gives_up(error: grpc.RpcError, left: int, when_away: WhenAway) -> bool:
    """Say whether a settlement that failed is to raise, with so many tries left."""
    return not is_away(error) or (not left and when_away != "allow")


def raised(error: grpc.RpcError) -> LimiterError:
    """Return a failed call as an exception of ours."""
    code, text = error.code(), error.details() or ""
    if is_away(error):
        return LimiterAwayError(f"the limiter did not answer: {code.name}")
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        return InvalidCallError(text, _violations(error))
    if code is grpc.StatusCode.FAILED_PRECONDITION:
        return ReservationExpiredError(text)
    return LimiterError(f"{code.name}: {text}")


def _violations(error: grpc.RpcError) -> tuple[tuple[str, str], ...]:
    """Return the fields at fault, as the error's details name them."""
    sent: Any = error.trailing_metadata() or ()
    trailers: dict[str, Any] = dict(sent)
    found: list[tuple[str, str]] = []
    for detail in Status.FromString(trailers.get(_TRAILER, b"")).details:
        if detail.type_url == _BAD_REQUEST:
            bad = BadRequest.FromString(detail.value)
            found += ((each.field, each.description) for each in bad.field_violations)
    return tuple(found)
