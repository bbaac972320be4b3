"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ratelimitd.client import AsyncLimiter
from tests.e2e.support.client_limiter import DOMAIN, PATIENCE, limiter_of, new_key
from tests.e2e.support.counting import STORES
from tests.e2e.support.edge import Edge, run_edge
from tests.e2e.support.fake_rls import FakeRls, serve_fake_rls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture
async def rls() -> AsyncIterator[FakeRls]:
    """A rate limit service that records its calls and allows them."""
    async with serve_fake_rls() as fake:
        yield fake


@pytest.fixture
async def edge(rls: FakeRls) -> AsyncIterator[Edge]:
    """The shipped Envoy in front of `rls` and of the stub API."""
    async with run_edge(rls.address) as running:
        yield running


@pytest.fixture(scope="module", params=STORES)
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where a limiter for the client's tests serves, with counts in the process and in Redis."""
    with limiter_of(request.param) as where:
        yield where


@pytest.fixture
async def limiter(address: str) -> AsyncIterator[AsyncLimiter]:
    """A client of it, as applications with asyncio have one."""
    async with AsyncLimiter(address, domain=DOMAIN, deadline=PATIENCE) as client:
        yield client


@pytest.fixture
def key() -> str:
    """A key that nobody has used."""
    return new_key()
