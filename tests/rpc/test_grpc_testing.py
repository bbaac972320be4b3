"""The servicer under grpcio-testing's server: a third way to call it, without a transport.

Its server is synchronous and ours a coroutine: see `support.synchronous`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import grpc_testing
import pytest

from ratelimitd._gen.envoy.service.ratelimit.v3 import rls_pb2
from ratelimitd.rpc.ratelimit import RateLimitServicer
from ratelimitd.telemetry import Telemetry
from tests.rpc.support.calls import OK, OVER_LIMIT, describe, header, one, question
from tests.rpc.support.synchronous import Synchronous
from tests.support.ops import MINUTELY, fixed
from tests.support.policies import Service, with_tier

if TYPE_CHECKING:
    from ratelimitd._gen.envoy.service.ratelimit.v3.rls_pb2 import RateLimitRequest

SERVICE = rls_pb2.DESCRIPTOR.services_by_name["RateLimitService"]
METHOD = SERVICE.methods_by_name["ShouldRateLimit"]


class Bench:
    """A limiter of five requests a minute behind grpcio-testing's server."""

    def __init__(self) -> None:
        self.telemetry = Telemetry()
        self.service = Service(with_tier(fixed(5, MINUTELY)))
        servicer = RateLimitServicer(self.service.limiter, self.telemetry)
        self._server = grpc_testing.server_from_dictionary(
            {SERVICE: Synchronous(servicer, (METHOD.name,))}, grpc_testing.strict_real_time()
        )

    def ask(self, request: RateLimitRequest) -> tuple[Any, grpc.StatusCode, str]:
        """Return response, status and details of a call."""
        call = self._server.invoke_unary_unary(METHOD, (), request, None)
        response, _, code, details = call.termination()
        return response, code, details


@pytest.fixture
def bench() -> Bench:
    """A fresh limiter and its server."""
    return Bench()


def ours(*entries: str, hits: int | None = None) -> RateLimitRequest:
    """Return a request of the agent API's domain about one descriptor."""
    return one(*entries, hits=hits, domain="agent-api")


def test_a_decision_without_a_transport(bench: Bench) -> None:
    """The servicer needs little of its context: it answers as on any transport."""
    answer, code, _ = bench.ask(ours("api_key=a", hits=5))
    assert code is grpc.StatusCode.OK
    assert answer.overall_code == OK
    denied, code, _ = bench.ask(ours("api_key=a"))
    assert code is grpc.StatusCode.OK
    assert denied.overall_code == OVER_LIMIT
    assert header(denied, "Retry-After") == "60"
    assert bench.telemetry.counts == {("decisions", "allowed"): 1, ("decisions", "denied"): 1}


def test_waiting_opens_the_limit_again(bench: Bench) -> None:
    """The clock is the store's; the server's own has no say in a decision."""
    bench.ask(ours("api_key=a", hits=5))
    bench.service.clock.advance(60_000_000)
    assert bench.ask(ours("api_key=a"))[0].overall_code == OK


WRONG = {
    "no domain": (one("api_key=a", domain=""), grpc.StatusCode.INVALID_ARGUMENT),
    "no descriptor": (question(domain="agent-api"), grpc.StatusCode.INVALID_ARGUMENT),
    "65 descriptors": (
        question(*[describe("api_key=a")] * 65, domain="agent-api"),
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    ),
}


@pytest.mark.parametrize(("request_", "code"), WRONG.values(), ids=WRONG)
def test_errors_end_the_call(
    bench: Bench, request_: RateLimitRequest, code: grpc.StatusCode
) -> None:
    """`abort` is called once, with the table's code and a text for the operator."""
    answer, ended, details = bench.ask(request_)
    assert (answer, ended) == (None, code)
    assert details
    assert bench.ask(ours("api_key=a"))[0].statuses[0].limit_remaining == 4


def test_what_the_service_registers_is_what_its_descriptor_says() -> None:
    """The servicer has each method of the service, under its name."""
    for method in SERVICE.methods:
        assert callable(getattr(RateLimitServicer, method.name))
