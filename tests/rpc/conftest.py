"""Fixtures of the service's tests: a limiter on each transport, and a client of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc.aio
import pytest

from ratelimitd.clock import ManualClock
from tests.rpc.support.calls import Client
from tests.rpc.support.limiter_service import Service as LimiterClient
from tests.rpc.support.serving import NOON, TRANSPORTS, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from ratelimitd.app import Service


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    """Each transport by its name."""
    name: str = request.param
    return name


@pytest.fixture
def clock() -> ManualClock:
    """The clock of `service`; it stands still until the test moves it."""
    return ManualClock(NOON)


@pytest.fixture
async def service(transport: str, tmp_path: Path, clock: ManualClock) -> AsyncIterator[Service]:
    """A limiter that serves `serving.POLICY`."""
    async with running(transport, tmp_path, clock=clock) as started:
        yield started


@pytest.fixture
async def client(service: Service) -> AsyncIterator[Client]:
    """A client of `service`."""
    async with grpc.aio.insecure_channel(service.addresses["grpc"][0]) as channel:
        yield Client(channel)


@pytest.fixture
async def limiter(service: Service) -> AsyncIterator[LimiterClient]:
    """A client of `service`'s LimiterService."""
    async with grpc.aio.insecure_channel(service.addresses["grpc"][0]) as channel:
        yield LimiterClient(channel)
