"""LimiterService as its tests ask it: requests made short, and errors with what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import grpc.aio

from ratelimitd._gen.ratelimitd.internal.v1.status_pb2 import BadRequest, ErrorInfo, Status
from ratelimitd._gen.ratelimitd.v1 import limiter_pb2 as pb
from ratelimitd._gen.ratelimitd.v1 import limiter_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Awaitable

SERVICE = "ratelimitd.v1.LimiterService"
METHODS = tuple(pb.DESCRIPTOR.services_by_name["LimiterService"].methods_by_name)


def asks(*texts: str) -> list[pb.Ask]:
    """Return asks from `requests`, `requests=3` and `requests=3?` (a peek)."""
    made = []
    for text in texts:
        meter, _, amount = text.rstrip("?").partition("=")
        ask = pb.Ask(meter=meter, peek=text.endswith("?"))
        if amount:
            ask.amount = int(amount)
        made.append(ask)
    return made


def amounts(**by_meter: int) -> list[pb.Amount]:
    """Return amounts by their meters."""
    return [pb.Amount(meter=meter, amount=amount) for meter, amount in by_meter.items()]


class Refused(NamedTuple):
    """How a call failed, with the fields at fault and the reason."""

    code: grpc.StatusCode
    fields: tuple[str, ...]
    reason: str
    text: str


def refused(error: grpc.aio.AioRpcError) -> Refused:
    """Read an error, and check that its details repeat its status."""
    trailers = dict(error.trailing_metadata() or ())
    return read_details(error.code(), error.details() or "", trailers)


def read_details(code: grpc.StatusCode, text: str, trailers: dict[Any, Any]) -> Refused:
    """Read what the trailer `grpc-status-details-bin` tells."""
    if "grpc-status-details-bin" not in trailers:
        return Refused(code, (), "", text)
    told = Status.FromString(trailers["grpc-status-details-bin"])
    assert (told.code, told.message) == (code.value[0], text)
    fields: list[str] = []
    reason = ""
    for detail in told.details:
        if detail.type_url == "type.googleapis.com/google.rpc.BadRequest":
            bad = BadRequest.FromString(detail.value)
            assert all(each.description for each in bad.field_violations)
            fields += (each.field for each in bad.field_violations)
        else:
            assert detail.type_url == "type.googleapis.com/google.rpc.ErrorInfo"
            reason = ErrorInfo.FromString(detail.value).reason
    return Refused(code, tuple(fields), reason, text)


class Service:
    """A client of one channel, whose domain is `test` unless said otherwise."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.stub: Any = limiter_pb2_grpc.LimiterServiceStub(channel)

    async def decide(self, api_key: str, *texts: str, **fields: Any) -> pb.DecideResponse:  # noqa: ANN401 - the request's own
        """Decide what the texts ask."""
        request = pb.DecideRequest(
            **{"domain": "test", "api_key": api_key, "asks": asks(*texts), **fields}
        )
        answer: pb.DecideResponse = await self.stub.Decide(request)
        return answer

    async def release(self, api_key: str, lease: str, **fields: Any) -> bool:  # noqa: ANN401 - the request's own
        """Release a lease."""
        named = {"domain": "test", "api_key": api_key, "lease_id": lease, **fields}
        released: bool = (await self.stub.Release(pb.ReleaseRequest(**named))).released
        return released

    async def renew(self, api_key: str, lease: str, **fields: Any) -> pb.RenewResponse:  # noqa: ANN401 - the request's own
        """Renew a lease."""
        named = {"domain": "test", "api_key": api_key, "lease_id": lease, **fields}
        answer: pb.RenewResponse = await self.stub.Renew(pb.RenewRequest(**named))
        return answer

    async def used(self, api_key: str, meter: str, **fields: Any) -> dict[str, int]:  # noqa: ANN401 - the request's own
        """Peek: what is used of each limit of a meter."""
        answer = await self.decide(api_key, f"{meter}?", **fields)
        return {limit.name: limit.used for limit in answer.decision.limits}

    async def send(self, method: str, wire: bytes) -> bytes:
        """Send bytes as they are."""
        call: Any = self.channel.unary_unary(f"/{SERVICE}/{method}")
        answer: bytes = await call(wire)
        return answer


async def failing(call: Awaitable[Any]) -> Refused:
    """Await a call that must fail."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        return refused(error)
    raise AssertionError(f"answered {answer}")
