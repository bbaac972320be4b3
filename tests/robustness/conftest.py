"""Fixtures of the rows: one limiter on each transport, for a file's tests in turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.support.limiter import Limiter, run_limiter
from tests.robustness.outcomes import TRANSPORTS
from tests.robustness.support.flooder import Flooder, run_flooder
from tests.robustness.support.watched import POLICY, Bystander, bystander

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture(scope="module", params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    """Each transport by its name."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
async def limiter(transport: str) -> AsyncIterator[Limiter]:
    """A limiter as a process, which whatever is done to it has to outlive."""
    async with run_limiter(POLICY, transport=transport) as running:
        yield running


@pytest.fixture(scope="module")
async def someone(limiter: Limiter) -> AsyncIterator[Bystander]:
    """Somebody who behaves."""
    async with bystander(limiter.address) as client:
        yield client


@pytest.fixture(scope="module")
async def flooder() -> AsyncIterator[Flooder]:
    """Somebody who does not."""
    async with run_flooder() as process:
        yield process
