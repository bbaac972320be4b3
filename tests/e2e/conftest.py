"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.support.edge import Edge, run_edge
from tests.e2e.support.fake_rls import FakeRls, serve_fake_rls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


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
