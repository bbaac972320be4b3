"""A rate limit service that records what Envoy asks and answers what the test wants.

It stands where ratelimitd will, so that a test sees Envoy's configuration alone. It reads with the
byte twin of the request: a key need not be UTF-8.
"""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Final

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health

from ratelimitd._gen.envoy.service.ratelimit.v3 import rls_pb2
from ratelimitd._gen.ratelimitd.internal.v1.raw_request_pb2 import RawRateLimitRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

Descriptors = list[list[tuple[bytes, bytes]]]
"""The entries of each descriptor of one call."""
Answer = rls_pb2.RateLimitResponse

SERVICE: Final = "envoy.service.ratelimit.v3.RateLimitService"
OK_HEADERS: Final = [
    ("X-RateLimit-Limit", "1000"),
    ("X-RateLimit-Remaining", "999"),
    ("X-RateLimit-Reset", "1640995200"),
    ("X-RateLimit-Reset-After", "3600"),
    ("RateLimit", '"hour";r=999;t=3600'),
    ("RateLimit-Policy", '"hour";q=1000;w=3600'),
]


def allowed() -> Answer:
    """OK, with every header that the limiter sends with an OK."""
    answer = Answer(overall_code=Answer.OK)
    for name, value in OK_HEADERS:
        answer.response_headers_to_add.add(key=name, value=value)
    return answer


def denied(body: bytes = b'{"error": {"code": "RATE_LIMIT_EXCEEDED"}}') -> Answer:
    """OVER_LIMIT with a JSON body."""
    answer = Answer(overall_code=Answer.OVER_LIMIT, raw_body=body)
    for name, value in [*OK_HEADERS, ("Retry-After", "17"), ("content-type", "application/json")]:
        answer.response_headers_to_add.add(key=name, value=value)
    return answer


async def always_allowed(_: RawRateLimitRequest) -> Answer:
    """The answer of a fake that was told nothing."""
    return allowed()


@dataclasses.dataclass(slots=True, kw_only=True)
class FakeRls:
    """Where it is served, what it was asked, what it answers."""

    address: str = ""
    answer: Callable[[RawRateLimitRequest], Awaitable[Answer]] = always_allowed
    requests: list[RawRateLimitRequest] = dataclasses.field(default_factory=list)
    """What was asked, but for `reports`."""
    reports: list[RawRateLimitRequest] = dataclasses.field(default_factory=list)
    """What was said with `phase=done`: Envoy may call so whenever a response has ended."""

    @property
    def calls(self) -> list[Descriptors]:
        """The descriptors of each call so far, but for reports."""
        return [entries_of(request) for request in self.requests]


def entries_of(request: RawRateLimitRequest) -> Descriptors:
    """The entries of each descriptor of a call."""
    return [
        [(entry.key, entry.value) for entry in descriptor.entries]
        for descriptor in request.descriptors
    ]


@contextlib.asynccontextmanager
async def serve_fake_rls(
    *, serving: bool = True, address: str = "127.0.0.1:0"
) -> AsyncIterator[FakeRls]:
    """A fake on a free port, whose health service says SERVING or NOT_SERVING."""
    fake = FakeRls()

    async def should_rate_limit(request: RawRateLimitRequest, _: object) -> Answer:
        done = any((b"phase", b"done") in entries for entries in entries_of(request))
        (fake.reports if done else fake.requests).append(request)
        return await fake.answer(request)

    server = grpc.aio.server()
    method = grpc.unary_unary_rpc_method_handler(
        should_rate_limit,
        request_deserializer=RawRateLimitRequest.FromString,
        response_serializer=Answer.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(SERVICE, {"ShouldRateLimit": method}),)
    )
    checks = health.HealthServicer()
    states = health_pb2.HealthCheckResponse
    await checks.set("", states.SERVING if serving else states.NOT_SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    fake.address = f"127.0.0.1:{server.add_insecure_port(address)}"
    await server.start()
    try:
        yield fake
    finally:
        await server.stop(grace=0)
