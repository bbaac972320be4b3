"""An Envoy that traces copies headers of its client into the call to the limiter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.support.deployment import deploy, patient_config
from tests.e2e.support.edge import manager_of
from tests.e2e.support.waiting import room_in_window

if TYPE_CHECKING:
    from tests.e2e.support.deployment import Config

HOUR = 3600
INVOKE = "/v1/agents/a1/invoke"
POLICY = """
domain: agent-api
subject: {entry: api_key, scheme: bearer, default_tier: free}
meters: {address: prepaid}
tiers: {free: {requests: [1/hour]}}
"""
PARENT = ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
OPEN_TELEMETRY = "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig"


def tracing_config() -> Config:
    """The shipped configuration with a tracer; nobody takes its spans."""
    config = patient_config()
    collector = {"envoy_grpc": {"cluster_name": "limiter"}, "timeout": "0.25s"}
    typed = {"@type": OPEN_TELEMETRY, "grpc_service": collector, "service_name": "edge"}
    provider = {"name": "envoy.tracers.opentelemetry", "typed_config": typed}
    manager_of(config)["tracing"] = {"provider": provider}
    return config


@pytest.mark.parametrize("transport", ["h2corn", "grpcio", "pyvoy"])
async def test_a_large_tracestate_lets_no_request_pass(transport: str) -> None:
    """Envoy takes up to 96 KiB of headers and hands a trace's on: still a decision, still 429."""
    await room_in_window(HOUR, 30)
    async with deploy(POLICY, transport=transport, config=tracing_config()) as deployment:
        key = ("authorization", b"Bearer over-its-limit")
        sizes = (0, 1_000, 17_000, 40_000, 90_000)
        seen = []
        for size in sizes:
            state = ("tracestate", b"a=" + b"x" * size)
            answer = await deployment.edge.request("POST", INVOKE, [key, PARENT, state])
            seen.append(answer.status)
        assert seen == [200, *[429] * (len(sizes) - 1)]
        assert await deployment.edge.outcomes() == {"ok": 1, "over_limit": len(sizes) - 1}
