"""The request that is measured, alike for every server: one descriptor with three entries."""

from __future__ import annotations

import grpc

from ratelimitd._gen.envoy.extensions.common.ratelimit.v3.ratelimit_pb2 import RateLimitDescriptor
from ratelimitd._gen.envoy.service.ratelimit.v3 import rls_pb2_grpc
from ratelimitd._gen.envoy.service.ratelimit.v3.rls_pb2 import RateLimitRequest, RateLimitResponse

PATH = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"
KEY = "demo-free-0123456789"


def message(key: str = KEY) -> RateLimitRequest:
    """Return the request of one caller."""
    entry = RateLimitDescriptor.Entry
    entries = [
        entry(key="api_key", value=f"Bearer {key}"),
        entry(key="route", value="invoke"),
        entry(key="remote_address", value="10.1.2.3"),
    ]
    return RateLimitRequest(domain="agent-api", descriptors=[RateLimitDescriptor(entries=entries)])


def frame(asked: RateLimitRequest | None = None) -> bytes:
    """Return a request, by default that of all measurements, as a gRPC message frame."""
    wire = (asked or message()).SerializeToString()
    return b"\0" + len(wire).to_bytes(4, "big") + wire


def verify(target: str) -> None:
    """Ask once with an ordinary client. Raises `grpc.RpcError`, or `RuntimeError` on a denial."""
    with grpc.insecure_channel(target) as channel:
        stub = rls_pb2_grpc.RateLimitServiceStub(channel)
        answer: RateLimitResponse = stub.ShouldRateLimit(message(), timeout=5)
    if answer.overall_code != RateLimitResponse.OK:
        text = f"{target} denies the measured request: {answer}"
        raise RuntimeError(text)
