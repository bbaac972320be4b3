"""The client on grpcio-testing's channel: what is sent, and what is made of each kind of answer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import grpc_testing
import pytest

from ratelimitd._gen.ratelimitd.internal.v1.status_pb2 import BadRequest, Status
from ratelimitd._gen.ratelimitd.v1 import limiter_pb2 as pb
from ratelimitd.client import (
    Ask,
    Decision,
    DeniedError,
    InvalidCallError,
    Limiter,
    LimiterAwayError,
    LimiterError,
    ReservationExpiredError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SERVICE = pb.DESCRIPTOR.services_by_name["LimiterService"]
ALLOWED = pb.DecideResponse(decision=pb.Decision(allowed=True))
HELD = pb.DecideResponse(decision=pb.Decision(allowed=True), lease=pb.Lease(id="L"))
HELD.lease.lasts.seconds = 900
DENIED = pb.DecideResponse(decision=pb.Decision(reason=pb.REASON_OVER_LIMIT, message="why"))


class Bench:
    """A client in a thread, and the fake channel that answers it."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - the client's own
        self.channel = grpc_testing.channel([SERVICE], grpc_testing.strict_real_time())
        self.limiter = Limiter(self.channel, domain="d", deadline=7, **options)
        self.threads = ThreadPoolExecutor(1)

    def doing(self, work: Callable[[], Any]) -> Any:  # noqa: ANN401 - a future
        """Begin something that asks."""
        return self.threads.submit(work)

    def answer(
        self,
        method: str,
        answer: Any = None,  # noqa: ANN401 - a response
        code: grpc.StatusCode = grpc.StatusCode.OK,
        details: str = "",
        trailers: tuple[tuple[str, bytes], ...] = (),
    ) -> Any:  # noqa: ANN401 - a request
        """Answer the next call of a method; return its request."""
        _, request, rpc = self.channel.take_unary_unary(SERVICE.methods_by_name[method])
        rpc.send_initial_metadata(())
        rpc.terminate(answer, trailers, code, details)
        return request


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A client whose calls raise while the limiter is away."""
    made = Bench()
    yield made
    made.limiter.close()
    made.threads.shutdown()


def test_what_is_asked_is_what_is_sent(bench: Bench) -> None:
    """Key, entries, and each ask as it was written."""
    asks = ("requests", Ask("tokens", 5), Ask("tokens", 7, peek=True), Ask("images", 0))
    future = bench.doing(lambda: bench.limiter.decide("k", *asks, entries={"route": "r"}))
    request = bench.answer("Decide", ALLOWED)
    assert (request.domain, request.api_key, dict(request.entries)) == ("d", "k", {"route": "r"})
    assert [
        (ask.meter, ask.amount if ask.HasField("amount") else None, ask.peek)
        for ask in request.asks
    ] == [
        ("requests", None, False),
        ("tokens", 5, False),
        ("tokens", 7, True),
        ("images", 0, False),
    ]
    assert future.result() == Decision(allowed=True)


@pytest.mark.parametrize(
    ("key", "subject", "which"), [(None, None, None), ("", None, "api_key"), (None, "5", "subject")]
)
def test_who_asks(bench: Bench, key: str | None, subject: str | None, which: str | None) -> None:
    """A key, a subject, or nobody: an empty key is not nobody."""
    future = bench.doing(lambda: bench.limiter.decide(key, subject=subject))
    assert bench.answer("Decide", ALLOWED).WhichOneof("caller") == which
    assert future.result().allowed


def test_a_lease_is_released_with_what_it_was_acquired_with(bench: Bench) -> None:
    """Also when the block fails: the exception is the block's own."""

    def hold() -> None:
        with bench.limiter.lease("k", entries={"model": "m"}):
            raise KeyError("mine")

    future = bench.doing(hold)
    asked = bench.answer("Decide", HELD)
    assert [ask.meter for ask in asked.asks] == ["concurrent"]
    request = bench.answer("Release", pb.ReleaseResponse(released=True))
    assert (request.lease_id, request.api_key, dict(request.entries)) == ("L", "k", {"model": "m"})
    with pytest.raises(KeyError, match="mine"):
        future.result()


def test_a_release_that_fails_hurts_nobody(bench: Bench) -> None:
    """The lease ends by itself."""

    def hold() -> bool:
        with bench.limiter.lease("k") as held:
            return bool(held.id)

    future = bench.doing(hold)
    bench.answer("Decide", HELD)
    bench.answer("Release", None, grpc.StatusCode.UNAVAILABLE)
    assert future.result()


def test_a_denial_is_raised_by_contexts_and_returned_by_decide(bench: Bench) -> None:
    """Nothing is released that was not held."""
    future = bench.doing(lambda: bench.limiter.lease("k").__enter__())
    bench.answer("Decide", DENIED)
    with pytest.raises(DeniedError, match="why") as denied:
        future.result()
    assert denied.value.decision.reason == "over_limit"


def test_a_reason_of_a_newer_limiter_is_another_one(bench: Bench) -> None:
    """A client is never broken by a word that it does not know."""
    newer = pb.DecideResponse(decision=pb.Decision(reason=99))  # type: ignore[arg-type]
    future = bench.doing(lambda: bench.limiter.decide("k"))
    bench.answer("Decide", newer)
    assert future.result().reason == "other"


FAILURES = {
    grpc.StatusCode.UNAVAILABLE: LimiterAwayError,
    grpc.StatusCode.DEADLINE_EXCEEDED: LimiterAwayError,
    grpc.StatusCode.UNKNOWN: LimiterAwayError,
    grpc.StatusCode.INTERNAL: LimiterAwayError,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidCallError,
    grpc.StatusCode.FAILED_PRECONDITION: ReservationExpiredError,
    grpc.StatusCode.UNIMPLEMENTED: LimiterError,
    grpc.StatusCode.PERMISSION_DENIED: LimiterError,
    grpc.StatusCode.UNAUTHENTICATED: LimiterError,
}


@pytest.mark.parametrize(("code", "kind"), FAILURES.items(), ids=str)
def test_each_status_is_an_exception_of_ours(
    bench: Bench, code: grpc.StatusCode, kind: type[LimiterError]
) -> None:
    """Whoever catches LimiterError has caught them all."""
    future = bench.doing(lambda: bench.limiter.decide("k"))
    bench.answer("Decide", None, code, "text")
    with pytest.raises(LimiterError) as raised:
        future.result()
    assert type(raised.value) is kind


@pytest.mark.parametrize("code", FAILURES, ids=str)
@pytest.mark.parametrize("when_away", ["allow", "deny"])
def test_only_what_nobody_decided_is_allowed_or_denied(
    code: grpc.StatusCode, when_away: str
) -> None:
    """A mistake raises whatever was chosen for the limiter's absence."""
    bench = Bench(when_away=when_away)
    future = bench.doing(lambda: bench.limiter.decide("k"))
    bench.answer("Decide", None, code, "text")
    if FAILURES[code] is LimiterAwayError:
        assert (future.result().allowed, future.result().away) == (when_away == "allow", True)
    else:
        with pytest.raises(LimiterError):
            future.result()
    bench.threads.shutdown()


def test_fields_at_fault_are_read_from_the_details(bench: Bench) -> None:
    """As the limiter tells them."""
    status = Status(code=3, message="m")
    bad = BadRequest()
    bad.field_violations.add(field="asks[0].meter", description="no such meter")
    status.details.add(
        type_url="type.googleapis.com/google.rpc.BadRequest", value=bad.SerializeToString()
    )
    trailers = (("grpc-status-details-bin", status.SerializeToString()),)
    future = bench.doing(lambda: bench.limiter.decide("k"))
    bench.answer("Decide", None, grpc.StatusCode.INVALID_ARGUMENT, "m", trailers)
    with pytest.raises(InvalidCallError) as wrong:
        future.result()
    assert wrong.value.violations == (("asks[0].meter", "no such meter"),)


def granted() -> pb.ReserveResponse:
    """Return an answer with a reservation."""
    answer = pb.ReserveResponse(decision=pb.Decision(allowed=True))
    answer.reservation.id = "R"
    return answer


def settling(bench: Bench) -> Any:  # noqa: ANN401 - a future
    """Begin to reserve and to settle."""

    def work() -> Any:  # noqa: ANN401 - a Settlement
        with bench.limiter.reserve("k", Ask("tokens", 9)) as estimate:
            return estimate.settle(tokens=4)

    future = bench.doing(work)
    request = bench.answer("Reserve", granted())
    assert [(each.meter, each.amount) for each in request.estimates] == [("tokens", 9)]
    return future


def test_a_settlement_is_repeated_until_somebody_answers(bench: Bench) -> None:
    """It is safe to repeat: the limiter does it once."""
    future = settling(bench)
    bench.answer("Settle", None, grpc.StatusCode.DEADLINE_EXCEEDED)
    request = bench.answer("Settle", pb.SettleResponse(outcome=pb.OUTCOME_SETTLED))
    assert request.reservation_id == "R"
    assert [(each.meter, each.amount) for each in request.actual] == [("tokens", 4)]
    assert future.result().settled


def test_a_settlement_that_nobody_answers_is_told(bench: Bench) -> None:
    """After three tries, unless the limiter's absence is allowed."""
    future = settling(bench)
    for _ in range(3):
        bench.answer("Settle", None, grpc.StatusCode.UNAVAILABLE)
    with pytest.raises(LimiterAwayError):
        future.result()


def test_a_settlement_that_is_refused_is_not_repeated(bench: Bench) -> None:
    """Too late is too late."""
    future = settling(bench)
    bench.answer("Settle", None, grpc.StatusCode.FAILED_PRECONDITION)
    with pytest.raises(ReservationExpiredError):
        future.result()
