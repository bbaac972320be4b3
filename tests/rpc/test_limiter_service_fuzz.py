"""Nothing that a service sends breaks LimiterService: an answer, or a mistake told by its field.

Messages go to the servicer in process (grpcio-testing), bytes over the wire on each transport.
"""

from __future__ import annotations

import itertools
import logging
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import grpc_testing
import pytest
from hypothesis import HealthCheck, given, settings

from ratelimitd._gen.ratelimitd.v1 import limiter_pb2 as pb
from ratelimitd.clock import ManualClock
from ratelimitd.reservations.keeper import Reservations
from ratelimitd.rpc.limiter_service import LimiterServicer
from ratelimitd.telemetry import Telemetry
from tests.rpc.support.limiter_messages import REQUESTS, calls, wires
from tests.rpc.support.limiter_service import METHODS, Refused, read_details, refused
from tests.rpc.support.limiter_service import Service as Client
from tests.rpc.support.serving import NOON, POLICY, running
from tests.rpc.support.synchronous import Synchronous
from tests.rpc.test_fuzz import Noting
from tests.support.policies import HASHER, Service, agent_api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

SERVICE = pb.DESCRIPTOR.services_by_name["LimiterService"]
MISTAKES = {grpc.StatusCode.INVALID_ARGUMENT}
fuzzed = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Bench:
    """A limiter of the agent API behind grpcio-testing's server, whose domain is `test`."""

    def __init__(self) -> None:
        self.telemetry = Telemetry()
        service = Service(agent_api(domain="test"))
        self.counters = Noting.within(service.limiter)
        ids = (number.to_bytes(16, "big") for number in itertools.count())
        reservations = Reservations(
            *(self.counters, service.clock, HASHER),
            new_id=lambda: next(ids),
            counts=self.telemetry.counts,
        )
        servicer = LimiterServicer(service.limiter, reservations, self.telemetry)
        self._server = grpc_testing.server_from_dictionary(
            {SERVICE: Synchronous(servicer, METHODS)}, grpc_testing.strict_real_time()
        )

    def ask(self, method: str, request: Any) -> Any:  # noqa: ANN401 - a method's own messages
        """Return the response of a call, or how it was refused."""
        call = self._server.invoke_unary_unary(SERVICE.methods_by_name[method], (), request, None)
        response, trailers, code, details = call.termination()
        if code is grpc.StatusCode.OK:
            return response
        return read_details(code, details, dict(trailers))


@pytest.fixture
def bench() -> Bench:
    """A fresh limiter and its server."""
    return Bench()


@fuzzed
@given(call=calls())
def test_every_message_ends_as_documented(bench: Bench, call: tuple[str, Any]) -> None:
    """An answer, or INVALID_ARGUMENT with the fields at fault and not one count touched."""
    method, request = call
    before = bench.counters.takes
    answer = bench.ask(method, request)
    if isinstance(answer, Refused):
        assert answer.code in MISTAKES, answer
        assert answer.fields
        assert bench.counters.takes == before
        assert all(text not in answer.text for text in _secrets(request))
    elif method in ("Decide", "Reserve"):
        decision = answer.decision
        assert bench.counters.takes == before + 1
        assert decision.allowed == (decision.reason == pb.REASON_UNSPECIFIED)
        assert bool(decision.body) != decision.allowed
        denying = any(limit.denied and not limit.shadow for limit in decision.limits)
        assert denying == (not decision.allowed)


def _secrets(request: Any) -> Iterator[str]:  # noqa: ANN401 - a method's own messages
    """Yield what nobody may read in an error: the key, where it is no word of ours."""
    key = getattr(request, "api_key", "")
    if len(key) > 8:
        yield key


def test_the_messages_reach_answers_and_mistakes_of_each_method(bench: Bench) -> None:
    """The twin: what is generated is not all of one kind."""
    seen: set[tuple[str, bool]] = set()

    @settings(max_examples=800, deadline=None, database=None, derandomize=True)
    @given(call=calls())
    def draw(call: tuple[str, Any]) -> None:
        seen.add((call[0], isinstance(bench.ask(*call), Refused)))

    draw()
    wanted = {(method, refused) for method in METHODS for refused in (True, False)}
    assert seen == wanted - {("Settle", False)}  # nobody guesses a ticket


@pytest.fixture
async def served(transport: str, tmp_path: Path) -> AsyncIterator[tuple[Noting, Client]]:
    """What notes the charges of a limiter, and a client of it."""
    async with (
        running(transport, tmp_path, POLICY, ManualClock(NOON)) as service,
        grpc.aio.insecure_channel(service.addresses["grpc"][0]) as channel,
    ):
        yield Noting.within(service.limiter), Client(channel)


_fresh = itertools.count()


@fuzzed
@given(call=wires())
async def test_every_byte_string_ends_as_documented(
    served: tuple[Noting, Client], caplog: pytest.LogCaptureFixture, call: tuple[str, bytes]
) -> None:
    """As for messages; no servicer fails, nothing is logged, and a bystander notices nothing."""
    noting, client = served
    method, wire = call
    before = noting.takes
    try:
        answer = RESPONSES[method].FromString(await client.send(method, wire))
        assert answer.IsInitialized()
    except grpc.aio.AioRpcError as error:
        told = refused(error)
        assert told.code in MISTAKES, told
        assert told.fields
        assert noting.takes == before
    assert [each for each in caplog.records if each.levelno > logging.WARNING] == []
    left = await client.used(f"bystander-{next(_fresh)}", "requests")
    assert left == {"requests/hour": 0, "requests/minute": 0}


RESPONSES: dict[str, Any] = {name: getattr(pb, name + "Response") for name in REQUESTS}
"""Method to the message that it answers with."""
