"""LimiterService while the store is away: what `on_store_failure` says, and what is made good."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest

from ratelimitd._gen.ratelimitd.v1 import limiter_pb2 as pb
from ratelimitd.clock import ManualClock
from tests.rpc.support.limiter_service import Service, amounts, failing
from tests.rpc.support.serving import NOON, POLICY, count_by, running
from tests.support.failing import AWAY, Failing, Way

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


class Served:
    """A limiter whose store fails as told, and a client of it."""

    def __init__(self, service: Any, store: Failing, limiter: Service) -> None:  # noqa: ANN401 - app.Service
        self.service = service
        self.store = store
        self.limiter = limiter

    async def reserve(self) -> pb.ReserveResponse:
        """Reserve 60 tokens for the key `a`."""
        request = pb.ReserveRequest(domain="test", api_key="a", estimates=amounts(tokens=60))
        answer: pb.ReserveResponse = await self.limiter.stub.Reserve(request)
        return answer

    async def settle(self, ticket: str, tokens: int) -> int:
        """Settle a reservation; return what came of it."""
        request = pb.SettleRequest(reservation_id=ticket, actual=amounts(tokens=tokens))
        return int((await self.limiter.stub.Settle(request)).outcome)


@contextlib.asynccontextmanager
async def served(mode: str, folder: Path) -> AsyncIterator[Served]:
    """Serve `POLICY` under a mode from a store that can fail."""
    clock = ManualClock(NOON)
    async with running("h2corn", folder, f"{POLICY}on_store_failure: {mode}\n", clock) as service:
        store = Failing(clock)
        count_by(service, store)
        async with grpc.aio.insecure_channel(service.addresses["grpc"][0]) as channel:
            yield Served(service, store, Service(channel))
        store.way = Way.WELL


@pytest.mark.parametrize("way", AWAY)
async def test_local_goes_on_with_every_limit(tmp_path: Path, way: Way) -> None:
    """Charges, states and leases are this process's meanwhile."""
    async with served("local", tmp_path) as limiter:
        limiter.store.way = way
        answer = await limiter.limiter.decide("a", "requests", "concurrent")
        assert [each.used for each in answer.decision.limits] == [1, 1, 1]
        assert not (await limiter.limiter.decide("a", "requests=5")).decision.allowed
        held = answer.lease.id
        assert not await limiter.limiter.release("b", held)
        assert not await limiter.limiter.release("a", held + "x")
        assert await limiter.limiter.release("a", held)
        assert not await limiter.limiter.release("a", held)
        assert await limiter.limiter.used("a", "concurrent") == {"concurrent": 0}


async def test_local_goes_on_from_what_was_last_known(tmp_path: Path) -> None:
    """Who asks the same again does not begin anew."""
    async with served("local", tmp_path) as limiter:
        await limiter.limiter.decide("a", "requests=2")
        limiter.store.way = Way.NOT_ASKED
        answer = await limiter.limiter.decide("a", "requests=2")
        assert [each.used for each in answer.decision.limits] == [4, 4]
        assert not (await limiter.limiter.decide("a", "requests=2")).decision.allowed


async def test_a_lease_granted_without_the_store_is_released_when_it_is_back(
    tmp_path: Path,
) -> None:
    """The process remembers its own, and says whether it was one."""
    async with served("local", tmp_path) as limiter:
        limiter.store.way = Way.NOT_ASKED
        held = (await limiter.limiter.decide("a", "concurrent")).lease.id
        limiter.store.way = Way.WELL
        assert await limiter.limiter.release("a", held)
        assert not await limiter.limiter.release("a", held)


@pytest.mark.parametrize("way", AWAY)
async def test_allow_and_deny_know_no_counts(tmp_path: Path, way: Way) -> None:
    """No limit is told of, no lease is held; a denial says when to come again."""
    async with served("allow", tmp_path) as limiter:
        limiter.store.way = way
        answer = await limiter.limiter.decide("a", "requests", "concurrent")
        assert answer.decision.allowed
        assert not answer.decision.limits
        assert not answer.decision.HasField("decided_at")
        assert not answer.HasField("lease")
        assert not (await limiter.limiter.renew("a", "x")).renewed
        assert not await limiter.limiter.release("a", "x")


async def test_deny_says_when_to_come_again(tmp_path: Path) -> None:
    """With a reason of its own."""
    async with served("deny", tmp_path) as limiter:
        limiter.store.way = Way.LOST
        decision = (await limiter.limiter.decide("a", "requests")).decision
        assert decision.reason == pb.REASON_STORE_UNAVAILABLE
        assert decision.retry_after.seconds == 1
        assert not (await limiter.reserve()).HasField("reservation")


async def test_error_leaves_it_to_the_caller(tmp_path: Path) -> None:
    """UNAVAILABLE, whose details repeat it."""
    async with served("error", tmp_path) as limiter:
        limiter.store.way = Way.REFUSED
        assert (await failing(limiter.limiter.decide("a", "requests"))).code is UNAVAILABLE
        assert (await failing(limiter.reserve())).code is UNAVAILABLE


async def test_a_settlement_waits_for_the_store(tmp_path: Path) -> None:
    """UNAVAILABLE: nobody knows whether it was done, and it can be sent again."""
    for way in (Way.LATE, Way.LOST):
        async with served("local", tmp_path) as limiter:
            ticket = (await limiter.reserve()).reservation.id
            limiter.store.way = way
            assert (await failing(limiter.settle(ticket, 10))).code is UNAVAILABLE
            limiter.store.way = Way.WELL
            outcome = await limiter.settle(ticket, 10)
            repeated = way is Way.LATE
            assert outcome == (pb.OUTCOME_ALREADY_SETTLED if repeated else pb.OUTCOME_SETTLED)
            assert await limiter.limiter.used("a", "tokens") == {"tokens/month": 10}


@pytest.mark.parametrize("mode", ["local", "allow"])
async def test_what_the_store_never_counted_is_reported_in_full(tmp_path: Path, mode: str) -> None:
    """An estimate of an outage is in nobody's counts: the settlement does not give it back."""
    async with served(mode, tmp_path) as limiter:
        limiter.store.way = Way.NOT_ASKED
        ticket = (await limiter.reserve()).reservation.id
        assert ticket
        limiter.store.way = Way.WELL
        assert await limiter.settle(ticket, 10) == pb.OUTCOME_SETTLED
        assert (await limiter.limiter.used("a", "tokens"))["tokens/month"] == 10
