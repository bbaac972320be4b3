"""What is served where: the listener decides, and what it does not serve it says so."""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import grpc
import pytest

from tests.rpc.support.calls import METHOD, Client, failure, one
from tests.rpc.support.raw_http2 import Wire, grpc_headers

if TYPE_CHECKING:
    from ratelimitd.app import Service


async def get(address: str, path: str) -> tuple[int, str]:
    """Fetch a path by HTTP/1.1; return status and body."""

    def fetch() -> tuple[int, str]:
        host, _, port = address.rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    return await anyio.to_thread.run_sync(fetch)


UNKNOWN = (
    "/envoy.service.ratelimit.v3.RateLimitService/Other",
    "/envoy.service.ratelimit.v3.RateLimitService",
    "/envoy.service.ratelimit.v2.RateLimitService/ShouldRateLimit",
    "/ratelimitd.v1.Admin/PutRecord",
    "/grpc.channelz.v1.Channelz/GetServers",
    "/metrics",
)


@pytest.mark.parametrize("method", UNKNOWN)
async def test_what_is_not_served_is_unimplemented(client: Client, method: str) -> None:
    """Unknown methods, services and everything administrative are UNIMPLEMENTED on 8081."""
    call: Any = client.channel.unary_unary(method)
    failed = await failure(call(b""))
    assert failed.code is grpc.StatusCode.UNIMPLEMENTED
    assert method not in failed.details
    assert await client.code("api_key=a") == 1


async def test_the_probes_follow_the_life_of_the_process(service: Service) -> None:
    """Alive while it runs; ready until it drains."""
    (address,) = service.addresses["http"]
    assert await get(address, "/healthz") == (200, "ok\n")
    assert await get(address, "/readyz") == (200, "ready\n")
    await service.drain()
    assert await get(address, "/healthz") == (200, "ok\n")
    assert await get(address, "/readyz") == (503, "not ready\n")


@pytest.mark.parametrize("path", ["/metrics", "/", "/admin", METHOD, "/v1/keys"])
async def test_the_customers_listener_has_nothing_of_the_admins(
    service: Service, path: str
) -> None:
    """`/metrics` and whatever else belongs to operators is 404 on the HTTP listener."""
    assert (await get(service.addresses["http"][0], path))[0] == 404


async def test_the_admin_listener_has_the_metrics(service: Service, client: Client) -> None:
    """The twin: where `/metrics` belongs it counts the decisions."""
    for _ in range(7):
        await client.ask(one("api_key=a"))
    status, text = await get(service.addresses["admin"][0], "/metrics")
    assert status == 200
    assert 'ratelimitd_decisions_total{verdict="allowed"} 5.0' in text
    assert 'ratelimitd_decisions_total{verdict="denied"} 2.0' in text


async def test_the_operator_sees_the_store(service: Service, client: Client) -> None:
    """How much is held, and whether newcomers find room; never what a caller sent."""
    for key in ("a", "b"):
        await client.ask(one(f"api_key={key}"))
    status, text = await get(service.addresses["admin"][0], "/metrics")
    assert status == 200
    assert "# TYPE ratelimitd_store_counters gauge" in text
    assert "ratelimitd_store_counters 0.0" not in text
    assert "# TYPE ratelimitd_store_overflow_total counter" in text
    assert "ratelimitd_store_overflow_total 0.0" in text


@pytest.mark.parametrize("listener", ["http", "admin"])
async def test_grpc_is_served_on_its_own_listener_only(service: Service, listener: str) -> None:
    """A gRPC call to another listener ends at once, and not in a decision."""
    async with Wire.open(service.addresses[listener][0]) as wire:
        reply = await wire.call(grpc_headers(METHOD), b"\0\0\0\0\0")
    if listener == "admin":  # which has services of its own, and not this one
        assert reply.grpc == grpc.StatusCode.UNIMPLEMENTED.value[0]
    else:
        assert reply.status in (404, 415)
        assert reply.grpc is None


async def test_administration_is_served_on_the_admin_listener_only(
    service: Service, client: Client
) -> None:
    """On the limiter's own it is UNIMPLEMENTED, like whatever nobody serves."""
    method = "/ratelimitd.v1.AdminService/GetKey"
    get: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = client.channel.unary_unary(method)
    failed = await failure(get(b""))
    assert failed.code is grpc.StatusCode.UNIMPLEMENTED
    async with grpc.aio.insecure_channel(service.addresses["admin"][0]) as channel:
        get = channel.unary_unary(method)
        failed = await failure(get(b""))
    assert failed.code is grpc.StatusCode.INVALID_ARGUMENT
