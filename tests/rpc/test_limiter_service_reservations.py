"""Reserve and Settle over each transport: an estimate now, the real amount later, exactly once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest

from ratelimitd._gen.ratelimitd.v1 import limiter_pb2 as pb
from tests.rpc.support.limiter_service import SERVICE, Service, amounts, failing
from tests.rpc.support.serving import running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from ratelimitd import app
    from ratelimitd.clock import ManualClock

POLICY = """\
domain: test
subject: {entry: api_key, default_tier: plain}
meters:
  images: {kind: postpaid, reservation: 10m, on_expiry: release}
tiers:
  plain:
    tokens: 100/month
    images: 10/hour
    requests: [10/hour, 5/minute]
    limits:
      - {meter: tokens, rate: 20/minute, when: {model: small}, name: small, shadow: true}
"""
MINUTE = 60_000_000
SETTLED, ALREADY = pb.OUTCOME_SETTLED, pb.OUTCOME_ALREADY_SETTLED


@pytest.fixture
async def served(
    transport: str, tmp_path: Path, clock: ManualClock
) -> AsyncIterator[tuple[app.Service, Service]]:
    """A limiter with meters that keep and that release, and a client of it."""
    async with (
        running(transport, tmp_path, POLICY, clock) as service,
        grpc.aio.insecure_channel(service.addresses["grpc"][0]) as channel,
    ):
        yield service, Service(channel)


@pytest.fixture
def limiter(served: tuple[app.Service, Service]) -> Service:
    """The client alone."""
    return served[1]


async def reserve(limiter: Service, fields: dict[str, Any] | None = None, **meters: int) -> str:
    """Reserve for the key `a`, which must be allowed."""
    answer = await attempt(limiter, fields, **meters)
    assert answer.decision.allowed
    ticket: str = answer.reservation.id
    return ticket


async def attempt(
    limiter: Service, fields: dict[str, Any] | None = None, **meters: int
) -> pb.ReserveResponse:
    """Ask for a reservation."""
    named = {"domain": "test", "api_key": "a", "estimates": amounts(**meters), **(fields or {})}
    answer: pb.ReserveResponse = await limiter.stub.Reserve(pb.ReserveRequest(**named))
    return answer


async def settle(limiter: Service, ticket: str, **meters: int) -> pb.SettleResponse:
    """Settle a reservation."""
    request = pb.SettleRequest(reservation_id=ticket, actual=amounts(**meters))
    answer: pb.SettleResponse = await limiter.stub.Settle(request)
    return answer


async def test_an_estimate_is_charged_at_once(limiter: Service, clock: ManualClock) -> None:
    """Also on a postpaid meter, where it is judged: what does not fit is denied."""
    answer = await attempt(limiter, tokens=60)
    assert answer.decision.allowed
    assert answer.reservation.lasts.ToSeconds() == 900
    assert answer.reservation.expires_at.ToMicroseconds() == clock.now + 15 * MINUTE
    assert [(each.used, each.remaining) for each in answer.decision.limits] == [(60, 40)]
    denied = await attempt(limiter, tokens=41)
    assert (denied.decision.allowed, denied.HasField("reservation")) == (False, False)
    assert denied.decision.reason == pb.REASON_OVER_LIMIT
    assert await limiter.used("a", "tokens") == {"tokens/month": 60}


@pytest.mark.parametrize("actual", [0, 25, 60, 75, 500])
async def test_the_real_amount_takes_the_estimates_place_once(
    limiter: Service, actual: int
) -> None:
    """Less, as much, more, and more than there is: it is what was used. Again changes nothing."""
    ticket = await reserve(limiter, tokens=60)
    first = await settle(limiter, ticket, tokens=actual)
    assert first.outcome == SETTLED
    assert [each.used for each in first.limits] == [actual]
    for other in (actual, 7):
        again = await settle(limiter, ticket, tokens=other)
        assert again.outcome == ALREADY
    assert await limiter.used("a", "tokens") == {"tokens/month": actual}


async def test_what_is_left_out_is_settled_at_its_estimate(limiter: Service) -> None:
    """Several meters in one reservation, each with its own real amount."""
    ticket = await reserve(limiter, tokens=60, requests=3)
    assert (await settle(limiter, ticket, requests=1)).outcome == SETTLED
    assert await limiter.used("a", "tokens") == {"tokens/month": 60}
    assert await limiter.used("a", "requests") == {"requests/hour": 1, "requests/minute": 1}
    assert (await settle(limiter, ticket)).outcome == ALREADY


async def test_all_or_nothing_over_meters(limiter: Service) -> None:
    """One estimate that does not fit leaves all meters as they are."""
    assert not (await attempt(limiter, tokens=60, requests=6)).decision.allowed
    assert await limiter.used("a", "tokens") == {"tokens/month": 0}


async def test_after_its_expiry_nothing_can_be_settled(
    limiter: Service, clock: ManualClock
) -> None:
    """FAILED_PRECONDITION with a reason that programs can read; the estimate stays charged."""
    ticket = await reserve(limiter, tokens=60)
    clock.advance(15 * MINUTE)
    refused = await failing(settle(limiter, ticket, tokens=1))
    assert refused.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refused.reason == "RESERVATION_EXPIRED"
    assert await limiter.used("a", "tokens") == {"tokens/month": 60}


async def test_on_expiry_release_gives_the_estimate_back(
    served: tuple[app.Service, Service], clock: ManualClock
) -> None:
    """Once the time is over, and only what was not settled."""
    service, limiter = served
    await reserve(limiter, images=3)
    settled = await reserve(limiter, images=2)
    await settle(limiter, settled, images=4)
    clock.advance(10 * MINUTE)
    await service.reservations.give_back_due()
    assert await limiter.used("a", "images") == {"images/hour": 7}
    clock.advance(MINUTE)
    await service.reservations.give_back_due()
    assert await limiter.used("a", "images") == {"images/hour": 4}
    assert service.telemetry.counts["reservations", "given_back"] == 1


async def test_what_is_given_back_does_not_reach_into_a_later_window(
    limiter: Service, clock: ManualClock
) -> None:
    """The old minute's charge is gone with it; the new minute's stays as it is."""
    ticket = await reserve(limiter, requests=3)
    clock.advance(MINUTE)
    await limiter.decide("a", "requests=2")
    await settle(limiter, ticket, requests=0)
    assert await limiter.used("a", "requests") == {"requests/hour": 2, "requests/minute": 2}


async def test_a_shadow_limit_without_room_is_charged_what_was_used(limiter: Service) -> None:
    """It had not counted the estimate, so that there is nothing of it to give back."""
    fields = {"entries": {"model": "small"}}
    ticket = await reserve(limiter, fields, tokens=60)
    assert await limiter.used("a", "tokens", **fields) == {"tokens/month": 60, "small": 0}
    await settle(limiter, ticket, tokens=15)
    assert await limiter.used("a", "tokens", **fields) == {"tokens/month": 15, "small": 15}


async def test_without_a_limit_there_is_nothing_to_settle(transport: str, tmp_path: Path) -> None:
    """No limit applies: allowed, and no reservation."""
    free = POLICY.replace("default_tier: plain", "default_tier: none") + "  none: {}\n"
    async with (
        running(transport, tmp_path, free) as service,
        grpc.aio.insecure_channel(service.addresses["grpc"][0]) as channel,
    ):
        answer = await attempt(Service(channel), tokens=60)
        assert (answer.decision.allowed, answer.HasField("reservation")) == (True, False)


ESTIMATES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "none": ({"estimates": []}, ("estimates",)),
    "nothing": ({"estimates": amounts(tokens=0)}, ("estimates[0].amount",)),
    "too much": ({"estimates": amounts(tokens=2**53)}, ("estimates[0].amount",)),
    "what is held": ({"estimates": amounts(concurrent=1)}, ("estimates[0].meter",)),
    "an unknown meter": ({"estimates": amounts(tokens=1, tokenz=1)}, ("estimates[1].meter",)),
    "one meter twice": ({"estimates": amounts(tokens=1) * 2}, ("estimates",)),
    "no such domain": ({"domain": "x"}, ("domain",)),
}


@pytest.mark.parametrize(("fields", "at_fault"), ESTIMATES.values(), ids=ESTIMATES)
async def test_a_mistaken_estimate_is_told_by_its_field(
    limiter: Service, fields: dict[str, Any], at_fault: tuple[str, ...]
) -> None:
    """And charges nothing."""
    refused = await failing(attempt(limiter, fields, tokens=1))
    assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, at_fault)
    assert await limiter.used("a", "tokens") == {"tokens/month": 0}


async def test_a_mistaken_settlement_is_told_by_its_field(limiter: Service) -> None:
    """Forged, cut, foreign, unknown meters: nothing changes, and the reservation stays open."""
    ticket = await reserve(limiter, tokens=60)
    other = ("B" if ticket.startswith("A") else "A") + ticket[1:]
    for forged in ("", "x", ticket[:-1], ticket[4:], other, ticket + "é", ticket + "A"):
        refused = await failing(settle(limiter, forged, tokens=1))
        assert (refused.code, refused.fields) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            ("reservation_id",),
        )
    for wrong in (amounts(requests=1), amounts(tokens=1) * 2):
        request = pb.SettleRequest(reservation_id=ticket, actual=wrong)
        assert (await failing(limiter.stub.Settle(request))).fields == ("actual",)
    request = pb.SettleRequest(reservation_id=ticket, actual=amounts(tokens=2**53))
    assert (await failing(limiter.stub.Settle(request))).fields == ("actual[0].amount",)
    assert await limiter.used("a", "tokens") == {"tokens/month": 60}
    assert (await settle(limiter, ticket, tokens=1)).outcome == SETTLED


async def test_any_process_with_the_secret_settles(
    limiter: Service, transport: str, tmp_path: Path, clock: ManualClock
) -> None:
    """The ticket says where what was charged: here a twin with counts of its own is told more."""
    ticket = await reserve(limiter, tokens=60)
    folder = tmp_path / "twin"
    folder.mkdir()
    async with (
        running(transport, folder, POLICY, clock) as service,
        grpc.aio.insecure_channel(service.addresses["grpc"][0]) as channel,
    ):
        twin = Service(channel)
        assert (await settle(twin, ticket, tokens=75)).outcome == SETTLED
        assert await twin.used("a", "tokens") == {"tokens/month": 15}


class LostCall:
    """A call whose caller has gone by the time it is answered."""

    def __init__(self) -> None:
        self.callbacks: list[Any] = []

    def add_done_callback(self, callback: Any) -> None:  # noqa: ANN401 - as a transport has it
        """Keep it for the end."""
        self.callbacks.append(callback)

    def cancelled(self) -> bool:
        """It ended without its answer."""
        return True


async def test_an_estimate_whose_answer_nobody_took_is_given_back(
    served: tuple[app.Service, Service],
) -> None:
    """Also on a meter that keeps what is not settled: nobody has the id to settle it by."""
    service, limiter = served
    call = LostCall()
    request = pb.ReserveRequest(domain="test", api_key="a", estimates=amounts(tokens=60))
    await service.handlers.services[SERVICE]["Reserve"].behavior(request, call)
    assert await limiter.used("a", "tokens") == {"tokens/month": 60}
    for callback in call.callbacks:
        callback(call)
    await service.reservations.give_back_due()
    assert await limiter.used("a", "tokens") == {"tokens/month": 0}
