"""grpc.health.v1 with a real client: Check, Watch, and what watchers leave behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import h2.settings
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio

from ratelimitd.rpc.health import Health
from ratelimitd.rpc.ratelimit import SERVICE
from ratelimitd.transports.handlers import Handlers
from tests.rpc.support.calls import Client, failure
from tests.rpc.support.counting import tasks, until
from tests.rpc.support.raw_http2 import Wire, grpc_headers
from tests.rpc.support.serving import serving

if TYPE_CHECKING:
    from ratelimitd.app import Service

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
WATCH = "/grpc.health.v1.Health/Watch"


def stub(channel: grpc.aio.Channel) -> Any:  # noqa: ANN401 - the stub's types miss its methods
    """Return a client of the health service."""
    return health_pb2_grpc.HealthStub(channel)


@pytest.fixture
def health(client: Client) -> Any:  # noqa: ANN401 - as `stub`
    """A client of the health service."""
    return stub(client.channel)


def about(service: str) -> health_pb2.HealthCheckRequest:
    """Return the question about a service; empty means the whole server."""
    return health_pb2.HealthCheckRequest(service=service)


@pytest.mark.parametrize("name", ["", SERVICE])
async def test_check_says_serving(health: Any, name: str) -> None:  # noqa: ANN401
    """The server as a whole and the rate limit service are SERVING once they are."""
    assert (await health.Check(about(name))).status == SERVING


async def test_check_of_a_service_that_is_not_here(health: Any) -> None:  # noqa: ANN401
    """Unknown services are NOT_FOUND, as the protocol wants it."""
    assert (await failure(health.Check(about("no.Such")))).code is grpc.StatusCode.NOT_FOUND


async def test_check_says_not_serving_while_draining(service: Service, health: Any) -> None:  # noqa: ANN401
    """A draining limiter wants no calls, and says so until it ends."""
    await service.drain()
    assert (await health.Check(about(""))).status == NOT_SERVING
    assert (await health.Check(about(SERVICE))).status == NOT_SERVING


async def test_watch_of_a_service_that_is_not_here(health: Any) -> None:  # noqa: ANN401
    """Watching an unknown service is no error: it may come to be."""
    call = health.Watch(about("no.Such"))
    assert (await call.read()).status == SERVICE_UNKNOWN
    call.cancel()


async def test_watch_sees_the_drain_and_ends_with_the_server(service: Service, health: Any) -> None:  # noqa: ANN401
    """A watcher learns NOT_SERVING before connections close, and its call ends well."""
    call = health.Watch(about(SERVICE))
    assert (await call.read()).status == SERVING
    await service.drain()
    assert (await call.read()).status == NOT_SERVING
    stopping = asyncio.ensure_future(service.stop())
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK
    await stopping


async def test_watchers_that_go_away_leave_nothing_behind(health: Any) -> None:  # noqa: ANN401
    """Each watch has tasks; none outlives its caller."""
    await health.Check(about(""))
    before = len(tasks())
    calls = [health.Watch(about(SERVICE)) for _ in range(20)]
    for call in calls:
        assert (await call.read()).status == SERVING
    assert len(tasks()) >= before + 20
    for call in calls:
        call.cancel()
    await until(lambda: len(tasks()) <= before, "the watches' tasks end")


async def test_a_watcher_that_reads_nothing_holds_up_nobody(service: Service) -> None:
    """A peer without flow-control credit stalls its own call only: drain and others go on.

    grpcio's own servicer holds a lock while it writes to a watcher.
    """
    address = service.addresses["grpc"][0]
    no_credit = {h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0}
    async with Wire.open(address, no_credit) as wire, asyncio.timeout(5):
        await wire.headers_of(wire.request(grpc_headers(WATCH), b"\0\0\0\0\0"))
        await service.drain()
        async with grpc.aio.insecure_channel(address) as channel:
            other = stub(channel)
            assert (await other.Check(about(""))).status == NOT_SERVING
            call = other.Watch(about(""))
            assert (await call.read()).status == NOT_SERVING
            call.cancel()


async def test_grpcios_servicer_would_be_held_up() -> None:
    """The twin: on grpcio the write stalls, and with a lock around it no status can be set.

    h2corn takes small messages into a buffer of its own.
    """
    servicer = aio.HealthServicer()
    handlers: Any = Handlers()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, handlers)
    no_credit = {h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0}
    async with serving("grpcio", handlers) as address, Wire.open(address, no_credit) as wire:
        await wire.headers_of(wire.request(grpc_headers(WATCH), b"\0\0\0\0\0"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await servicer.enter_graceful_shutdown()


async def test_a_status_that_changes_while_it_is_written_is_not_missed() -> None:
    """The last state always arrives, also where it came during the message before it."""
    health = Health(())
    told: list[int] = []

    class Slow:
        async def write(self, message: health_pb2.HealthCheckResponse) -> None:
            told.append(message.status)
            if len(told) == 1:
                health.serve(ready=True)

    watch = asyncio.ensure_future(health.Watch(about(""), Slow()))  # type: ignore[arg-type]
    await until(lambda: len(told) == 2, "the second status is told")
    assert told == [NOT_SERVING, SERVING]
    health.end_watches()
    await watch


async def test_before_it_is_ready_a_limiter_says_not_serving(transport: str) -> None:
    """Health begins as NOT_SERVING."""
    handlers = Handlers()
    Health((SERVICE,)).register(handlers)
    async with (
        serving(transport, handlers) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        assert (await stub(channel).Check(about(SERVICE))).status == NOT_SERVING


def test_once_draining_nothing_changes_that() -> None:
    """A store that comes back while the process stops does not make it SERVING again."""
    health = Health(())
    health.serve(ready=True)
    assert health._status("") == SERVING
    health.drain()
    health.serve(ready=True)
    assert health._status("") == NOT_SERVING
