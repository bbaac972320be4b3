"""LimiterService as each transport serves it, a real Envoy around pyvoy included."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ratelimitd.client import (
    Ask,
    DeniedError,
    InvalidCallError,
    Limiter,
    ReservationExpiredError,
)
from tests.e2e.support.client_limiter import DOMAIN, PATIENCE, limiter_of, new_key, used
from tests.e2e.support.fleet import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module", params=["h2corn", "grpcio", "pyvoy"])
def limiter(request: pytest.FixtureRequest) -> Iterator[Limiter]:
    """A client of a limiter on each transport."""
    with (
        limiter_of("memory", "--transport", request.param) as address,
        Limiter(address, domain=DOMAIN, deadline=PATIENCE) as client,
    ):
        yield client


def test_decisions_and_leases(limiter: Limiter) -> None:
    """What is decided, held, renewed and released is the same everywhere."""
    key = new_key()
    with limiter.lease(key, "requests", "concurrent") as held, limiter.lease(key):
        assert held.decision.limits[0].used == 1
        with pytest.raises(DeniedError), limiter.lease(key):
            pass
        assert held._renew() == pytest.approx(900)
    assert used(limiter, key, "concurrent") == 0


def test_mistakes_reach_their_developer_with_their_fields(limiter: Limiter) -> None:
    """The trailer with the details passes every HTTP stack."""
    with pytest.raises(InvalidCallError) as wrong:
        limiter.decide(new_key(), "requests", "tokenz", Ask("concurrent", 2))
    assert [field for field, _ in wrong.value.violations] == ["asks[1].meter", "asks[2].amount"]


def test_reservations(limiter: Limiter) -> None:
    """Settled once; given back at its expiry by the process's own timer."""
    key = new_key()
    with limiter.reserve(key, Ask("tokens", 80)) as estimate:
        assert estimate.settle(tokens=30).settled
        assert not estimate.settle(tokens=31).settled
    assert used(limiter, key, "tokens") == 30
    with limiter.reserve(key, Ask("images", 4)) as estimate:
        wait_until(lambda: used(limiter, key, "images") == 0, "it is given back")
        with pytest.raises(ReservationExpiredError):
            estimate.settle(images=1)
