"""The client for threads against a real limiter, with counts in the process and in Redis."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc
import pytest

from ratelimitd.client import (
    Ask,
    Backoff,
    Decision,
    DeniedError,
    InvalidCallError,
    Limiter,
    LimiterAwayError,
    LimiterError,
    ReservationExpiredError,
)
from tests.e2e.support.client_limiter import DOMAIN, LEASE, PATIENCE, used
from tests.e2e.support.fleet import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def limiter(address: str) -> Iterator[Limiter]:
    """A client of it."""
    with Limiter(address, domain=DOMAIN, deadline=PATIENCE) as client:
        yield client


def test_a_decision_has_all_that_its_caller_needs(limiter: Limiter, key: str) -> None:
    """Values of the right types: states, headers, and a denial that says when."""
    first = limiter.decide(key, Ask("requests", 2), "tokens")
    assert first.allowed
    assert [(each.name, each.used, each.remaining) for each in first.limits] == [
        ("requests/year", 2, 3),
        ("tokens/year", 0, 100),
    ]
    assert dict(first.headers)["X-RateLimit-Remaining"] == "3"
    limiter.decide(key, Ask("requests", 3))
    denied = limiter.decide(key)
    assert (denied.allowed, denied.reason) == (False, "over_limit")
    assert denied.retry_after is not None
    assert denied.retry_after > 0
    assert '"status": 429' in denied.body
    assert denied.limits[0].denied


def test_what_was_used_is_reported_by_its_amount(limiter: Limiter, key: str) -> None:
    """A postpaid meter runs into debt, and then denies."""
    assert limiter.decide(key, Ask("tokens", 150)).allowed
    assert limiter.decide(key, "tokens").reason == "over_limit"


def test_two_are_held_at_a_time_and_no_third(limiter: Limiter, key: str) -> None:
    """A context holds a lease until its end, however it ends; a denial is raised."""

    def hold() -> None:
        with limiter.lease(key), limiter.lease(key, "concurrent"):
            with pytest.raises(DeniedError) as denied, limiter.lease(key):
                pass
            assert denied.value.decision.retry_after == 1
            raise RuntimeError

    with pytest.raises(RuntimeError):
        hold()
    assert used(limiter, key, "concurrent") == 0


def test_a_lease_and_a_request_are_one_call(limiter: Limiter, key: str) -> None:
    """What is denied of them charges nothing of the other."""
    limiter.decide(key, Ask("requests", 5))
    with pytest.raises(DeniedError), limiter.lease(key, "requests", "concurrent"):
        pass
    assert used(limiter, key, "concurrent") == 0


def test_a_lease_is_released_once(limiter: Limiter, key: str) -> None:
    """By hand as by the context; a meter without limits has none to release."""
    held = limiter.lease(key)
    held.acquire()
    assert held.id
    assert [held.release(), held.release()] == [True, False]
    free = limiter.lease(key, "tokens")
    assert free.acquire().allowed
    assert not free.release()


def test_a_lease_that_is_held_for_long_is_renewed(limiter: Limiter, key: str) -> None:
    """Past its own end, by one thread for all; after the context it is free at once."""
    with limiter.lease(key, "brief") as first, limiter.lease(key, "brief"):
        end = time.monotonic() + LEASE * 1.4
        while time.monotonic() < end:
            assert used(limiter, key, "brief") == 2
            time.sleep(0.1)
        assert not first.lost
        names = [each.name for each in threading.enumerate()]
        assert names.count("ratelimitd-renewals") == 1
    assert used(limiter, key, "brief") == 0


def test_a_lease_that_was_lost_says_so(limiter: Limiter, key: str) -> None:
    """Somebody else released it: found when it should be renewed."""
    with limiter.lease(key, "brief") as held:
        twin = limiter.lease(key, "brief")
        twin.id = held.id
        assert twin.release()
        wait_until(lambda: held.lost, "it is told")


def test_an_estimate_is_settled_once(limiter: Limiter, key: str) -> None:
    """Charged at once, put right later, and nothing more the second time."""
    with limiter.reserve(key, Ask("tokens", 80)) as estimate:
        assert used(limiter, key, "tokens") == 80
        with pytest.raises(DeniedError), limiter.reserve(key, Ask("tokens", 21)):
            pass
        assert estimate.settle(tokens=30).settled
        assert not estimate.settle(tokens=31).settled
    assert used(limiter, key, "tokens") == 30


def test_an_estimate_that_nobody_settles_is_given_back_where_the_meter_says_so(
    limiter: Limiter, key: str
) -> None:
    """By the limiter itself; whoever comes later is told."""
    with limiter.reserve(key, Ask("images", 4)) as estimate:
        assert used(limiter, key, "images") == 4
        wait_until(lambda: used(limiter, key, "images") == 0, "it is given back")
        with pytest.raises(ReservationExpiredError):
            estimate.settle(images=1)
    assert used(limiter, key, "images") == 0


def test_a_mistake_is_told_by_its_field(limiter: Limiter, key: str) -> None:
    """And never by the key."""
    with pytest.raises(InvalidCallError) as wrong:
        limiter.decide(key, "requests", "tokenz")
    assert [field for field, _ in wrong.value.violations] == ["asks[1].meter"]
    assert key not in str(wrong.value)


def test_backoff_waits_as_it_is_told(limiter: Limiter, key: str) -> None:
    """Denied while both are held, allowed soon after one is released: a second is advised."""
    held = limiter.lease(key)
    held.acquire()
    with limiter.lease(key):
        threading.Timer(0.3, held.release).start()
        waiting = limiter.lease(key)
        decision = Backoff(within=30).run(waiting.acquire)
        assert decision.allowed
        waiting.release()


def test_backoff_gives_up_where_waiting_is_no_use(limiter: Limiter, key: str) -> None:
    """A year is longer than anybody waits; nobody waits for what never fits."""
    limiter.decide(key, Ask("requests", 5))
    for amount in (1, 6):
        begun = time.monotonic()
        decision = Backoff(within=5).run(lambda: limiter.decide(key, Ask("requests", amount)))  # noqa: B023 - called here
        assert not decision.allowed
        assert time.monotonic() - begun < 5


@pytest.fixture(params=["nobody listens", "nobody answers"])
def nowhere(request: pytest.FixtureRequest) -> Iterator[str]:
    """An address without a limiter."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        where = f"127.0.0.1:{server.getsockname()[1]}"
        if request.param == "nobody answers":
            yield where
            return
    yield where


def test_while_the_limiter_is_away_calls_get_what_was_chosen(nowhere: str) -> None:
    """Within the deadline: allowed without a lease, denied with a wait, or an exception."""
    begun = time.monotonic()
    with Limiter(nowhere, domain=DOMAIN, when_away="allow") as limiter:
        assert limiter.decide("k") == Decision(allowed=True, away=True)
        with limiter.lease("k") as held, limiter.reserve("k", Ask("tokens", 5)) as estimate:
            assert held.id == ""
            assert not estimate.settle(tokens=3).settled
    with Limiter(nowhere, domain=DOMAIN, when_away="deny") as limiter:
        denied = limiter.decide("k")
        assert (denied.allowed, denied.away, denied.retry_after) == (False, True, 1)
        assert ("Retry-After", "1") in denied.headers
        with pytest.raises(DeniedError), limiter.lease("k"):
            pass
    with Limiter(nowhere, domain=DOMAIN) as limiter, pytest.raises(LimiterAwayError):
        limiter.decide("k")
    assert time.monotonic() - begun < 10


def test_another_service_is_no_limiter_that_is_away() -> None:
    """An operator's mistake must be seen, whatever `when_away` says."""
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        where = f"127.0.0.1:{port}"
        limiter = Limiter(where, domain=DOMAIN, deadline=PATIENCE, when_away="allow")
        with limiter, pytest.raises(LimiterError, match="UNIMPLEMENTED"):
            limiter.decide("k")
    finally:
        server.stop(None).wait()
