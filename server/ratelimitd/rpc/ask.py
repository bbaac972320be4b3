"""The caller's side of Envoy's RateLimitService, for the command line: questions out, answers in.

Bytes on one side, plain values on the other: who asks sees no protobuf. Opens no connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from google.protobuf.message import DecodeError

from ratelimitd._gen.envoy.service.ratelimit.v3.rls_pb2 import RateLimitRequest, RateLimitResponse
from ratelimitd.errors import UnreachableError
from ratelimitd.rpc.ratelimit import SERVICE

if TYPE_CHECKING:
    from collections.abc import Iterable

METHOD = f"/{SERVICE}/ShouldRateLimit"
"""The path of the call."""

_RATE = RateLimitResponse.RateLimit


class Said(NamedTuple):
    """What an answer says of one descriptor."""

    passes: bool
    limit: str
    """The name of the limit that is told of; empty where none applies."""
    amount: int
    unit: str
    """`hour`, …; empty for windows without a name of their own, and for leases."""
    remaining: int
    reset_after: float
    """Seconds until the limit is whole."""


class Answer(NamedTuple):
    """A limiter's answer."""

    allowed: bool
    statuses: tuple[Said, ...]
    """One per descriptor."""
    headers: tuple[tuple[str, str], ...]
    """For the customer, in the limiter's order."""
    body: str
    """For the customer; empty when allowed."""
    lease: str
    """The id of the lease that was granted; empty otherwise."""


def encode(domain: str, entries: Iterable[tuple[str, str]], hits: int | None) -> bytes:
    """Return the request with one descriptor; without hits it asks for what the server thinks."""
    request = RateLimitRequest(domain=domain)
    descriptor = request.descriptors.add()
    for key, value in entries:
        descriptor.entries.add(key=key, value=value)
    if hits is not None:
        descriptor.hits_addend.value = hits
    return request.SerializeToString()


def decode(wire: bytes) -> Answer:
    """Return what a response says. Raises `UnreachableError` when it is none."""
    try:
        response = RateLimitResponse.FromString(wire)
    except DecodeError as error:
        raise UnreachableError("what answers there is no rate limiter") from error
    return Answer(
        allowed=is_allowed(response.overall_code),
        statuses=tuple(_said(status) for status in response.statuses),
        headers=tuple((header.key, header.value) for header in response.response_headers_to_add),
        body=response.raw_body.decode("utf-8", "replace"),
        lease=response.dynamic_metadata.fields["lease"].string_value,
    )


def is_allowed(code: int) -> bool:
    """Say whether Envoy would let the request pass: it does unless it is told OVER_LIMIT."""
    return code != RateLimitResponse.OVER_LIMIT


def _said(status: RateLimitResponse.DescriptorStatus) -> Said:
    limit = status.current_limit
    unit = _RATE.Unit.Name(limit.unit).lower() if limit.unit in _RATE.Unit.values() else ""
    duration = status.duration_until_reset
    return Said(
        passes=is_allowed(status.code),
        limit=limit.name,
        amount=limit.requests_per_unit,
        unit="" if unit == "unknown" else unit,
        remaining=status.limit_remaining,
        reset_after=duration.seconds + duration.nanos / 1e9,
    )
