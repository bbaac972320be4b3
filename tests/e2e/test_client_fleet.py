"""Several limiters on one Redis: a settlement counts once, wherever it is sent."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from ratelimitd.client import Ask, Limiter, ReservationExpiredError
from tests.e2e.support.cli import ANYWHERE, running
from tests.e2e.support.client_limiter import DOMAIN, PATIENCE, POLICY, new_key, used
from tests.e2e.support.counting import PATIENT, store_of
from tests.e2e.support.fleet import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

FLEET = 2


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Limiter]]:
    """Clients of limiters that share a Redis."""
    policy = tmp_path_factory.mktemp("fleet") / "policy.yaml"
    policy.write_text(POLICY, "utf-8")
    with ExitStack() as stack:
        flags = (*ANYWHERE, "--store", stack.enter_context(store_of("redis")), *PATIENT)
        clients = []
        for _ in range(FLEET):
            limiter = stack.enter_context(running("serve", "--policy", policy, *flags))
            client = Limiter(limiter["grpc"], domain=DOMAIN, deadline=PATIENCE)
            clients.append(stack.enter_context(client))
        yield clients


def test_of_many_settlements_one_counts(fleet: list[Limiter]) -> None:
    """At once, on all processes, each with another amount: one of them is what was used."""
    first, second = fleet
    key = new_key()
    wanted = 0
    with ThreadPoolExecutor(8) as threads:
        for round_ in range(5):
            estimate = first.reserve(key, Ask("tokens", 10))
            assert estimate.reserve().allowed
            twin = second.reserve(key, Ask("tokens", 10))
            twin.reservation = estimate.reservation
            amounts = range(round_, round_ + 8)
            sent = zip(itertools.cycle((estimate, twin)), amounts, strict=False)
            work = [threads.submit(each.settle, tokens=amount) for each, amount in sent]
            done = [each.result().settled for each in work]
            assert done.count(True) == 1
            wanted += amounts[done.index(True)]
            assert used(second, key, "tokens") == wanted


def test_an_expiry_here_and_a_settlement_there_never_both_happen(fleet: list[Limiter]) -> None:
    """As close to its end as can be: what was settled is what stays, else nothing does."""
    first, second = fleet
    outcomes = []
    for delay in (0, 0.8, 0.95, 1.0):
        key = new_key()
        estimate = first.reserve(key, Ask("images", 4))
        estimate.reserve()
        twin = second.reserve(key, Ask("images", 4))
        twin.reservation = estimate.reservation
        threading.Event().wait(delay)
        try:
            settled = twin.settle(images=9).settled
        except ReservationExpiredError:
            settled = False
        outcomes.append((key, 9 if settled else 0))
    for key, wanted in outcomes:
        wait_until(lambda: used(first, key, "images") == wanted, "what was settled")  # noqa: B023 - called here
    assert any(wanted for _, wanted in outcomes)


def test_a_lease_is_every_process_s(fleet: list[Limiter]) -> None:
    """Acquired here, renewed and released there."""
    first, second = fleet
    key = new_key()
    with first.lease(key) as held:
        twin = second.lease(key)
        twin.id = held.id
        assert twin._renew() == pytest.approx(900)
        assert twin.release()
        assert not held.release()
    assert used(first, key, "concurrent") == 0
