"""Questions as messages, and the answers as a test reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import grpc.aio

from ratelimitd._gen.envoy.extensions.common.ratelimit.v3.ratelimit_pb2 import RateLimitDescriptor
from ratelimitd._gen.envoy.service.ratelimit.v3 import rls_pb2_grpc
from ratelimitd._gen.envoy.service.ratelimit.v3.rls_pb2 import RateLimitRequest, RateLimitResponse
from ratelimitd.rpc.ratelimit import SERVICE

if TYPE_CHECKING:
    from collections.abc import Awaitable

METHOD = f"/{SERVICE}/ShouldRateLimit"
OK = RateLimitResponse.OK
OVER_LIMIT = RateLimitResponse.OVER_LIMIT


def describe(*entries: str, hits: int | None = None, negative: bool = False) -> RateLimitDescriptor:
    """Return a descriptor of `name=value` entries."""
    descriptor = RateLimitDescriptor(is_negative_hits=negative)
    for entry in entries:
        name, _, value = entry.partition("=")
        descriptor.entries.add(key=name, value=value)
    if hits is not None:
        descriptor.hits_addend.value = hits
    return descriptor


def question(
    *descriptors: RateLimitDescriptor, hits: int = 0, domain: str = "test"
) -> RateLimitRequest:
    """Return a request about some descriptors."""
    return RateLimitRequest(domain=domain, descriptors=descriptors, hits_addend=hits)


def one(
    *entries: str, hits: int | None = None, negative: bool = False, domain: str = "test"
) -> RateLimitRequest:
    """Return a request about one descriptor."""
    return question(describe(*entries, hits=hits, negative=negative), domain=domain)


def header(answer: RateLimitResponse, name: str) -> str | None:
    """Return a response header; None where it is not there."""
    found = [each.value for each in answer.response_headers_to_add if each.key == name]
    assert len(found) < 2, f"{name} stands {len(found)} times"
    return found[0] if found else None


class Failed(NamedTuple):
    """How a call failed."""

    code: grpc.StatusCode
    details: str


async def outcome(call: Awaitable[Any]) -> Any:  # noqa: ANN401 - a response, or `Failed`
    """Await a call; its failure is a value."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        return Failed(error.code(), error.details() or "")


async def failure(call: Awaitable[Any]) -> Failed:
    """Await a call that must fail."""
    result = await outcome(call)
    assert isinstance(result, Failed), f"answered {result}"
    return result


class Client:
    """A gRPC client of one channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self._stub = rls_pb2_grpc.RateLimitServiceStub(channel)
        self._raw: Any = channel.unary_unary(METHOD)

    async def ask(self, request: RateLimitRequest, **options: Any) -> RateLimitResponse:  # noqa: ANN401 - grpcio's own
        """Ask, and return the answer."""
        answer: RateLimitResponse = await self._stub.ShouldRateLimit(request, **options)
        return answer

    async def send(self, wire: bytes) -> RateLimitResponse:
        """Send bytes as they are, and return the answer."""
        return RateLimitResponse.FromString(await self._raw(wire))

    async def code(self, *entries: str, hits: int | None = None) -> int:
        """Ask about one descriptor, and return the overall code."""
        return (await self.ask(one(*entries, hits=hits))).overall_code

    async def remaining(self, *entries: str) -> int:
        """Peek, and return what the first descriptor has left."""
        answer = await self.ask(one(*entries, hits=0))
        return answer.statuses[0].limit_remaining
