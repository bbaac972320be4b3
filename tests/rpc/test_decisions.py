"""Decisions through real gRPC clients: what is answered, and that transports answer alike."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from ratelimitd import settings
from ratelimitd._gen.envoy.service.ratelimit.v3 import rls_pb2_grpc
from ratelimitd._gen.envoy.service.ratelimit.v3.rls_pb2 import RateLimitResponse
from ratelimitd.clock import ManualClock
from ratelimitd.settings import Address
from tests.rpc.support.calls import OK, OVER_LIMIT, Client, describe, header, one, question
from tests.rpc.support.serving import LOOPBACK, NOON, TRANSPORTS, policy, running

if TYPE_CHECKING:
    from pathlib import Path

    from ratelimitd.app import Service


def test_every_transport_of_the_command_line_is_held_to_this_suite() -> None:
    """What `--transport` takes is what these tests run on.

    But for pyvoy: it is an Envoy around the process, which no test can have around itself;
    tests/e2e/test_pyvoy_*.py hold it to the same answers.
    """
    assert set(TRANSPORTS) == set(settings.TRANSPORTS) - {"pyvoy"}


async def test_an_answer_says_what_was_decided(client: Client) -> None:
    """An allowed call: OK, the reported limit in the headers, the tightest in the status."""
    answer = await client.ask(one("api_key=a"))

    assert answer.overall_code == OK
    assert [(each.key, each.value) for each in answer.response_headers_to_add] == [
        ("X-RateLimit-Limit", "10"),
        ("X-RateLimit-Remaining", "9"),
        ("X-RateLimit-Reset", str(NOON // 3_600_000_000 * 3600 + 3600)),
        ("X-RateLimit-Reset-After", "3570"),
    ]
    (status,) = answer.statuses
    assert (status.code, status.limit_remaining) == (OK, 4)
    assert status.current_limit.name == "requests/minute"
    assert status.current_limit.unit == RateLimitResponse.RateLimit.MINUTE
    assert status.current_limit.requests_per_unit == 5
    assert status.duration_until_reset.seconds == 30
    assert answer.raw_body == b""


async def test_a_denial_carries_the_429(client: Client) -> None:
    """A denied call: the limit that denies, Retry-After, and the body that was promised."""
    for _ in range(5):
        assert await client.code("api_key=a") == OK
    answer = await client.ask(one("api_key=a"))

    assert answer.overall_code == OVER_LIMIT
    assert header(answer, "Retry-After") == "30"
    assert header(answer, "content-type") == "application/json"
    error = json.loads(answer.raw_body)["error"]
    assert (error["code"], error["status"]) == ("RATE_LIMIT_EXCEEDED", 429)
    assert error["details"]["retry_after"] == 30
    assert answer.statuses[0].code == OVER_LIMIT


async def test_a_blocking_client_gets_the_same_answer(service: Service, client: Client) -> None:
    """The synchronous client of grpcio is served as the asyncio one is."""

    def blocking() -> RateLimitResponse:
        with grpc.insecure_channel(service.addresses["grpc"][0]) as channel:
            stub = rls_pb2_grpc.RateLimitServiceStub(channel)
            answer: RateLimitResponse = stub.ShouldRateLimit(one("api_key=sync"), timeout=10)
            return answer

    assert await asyncio.to_thread(blocking) == await client.ask(one("api_key=async"))


async def test_a_unix_socket_serves_the_same_counters(transport: str, tmp_path: Path) -> None:
    """One limiter behind two listeners counts once; its socket file is gone when it stopped."""
    path = tmp_path / "rls.sock"
    listen = (LOOPBACK, Address(path=str(path)))
    async with (
        running(transport, tmp_path, listen=listen) as service,
        contextlib.AsyncExitStack() as stack,
    ):
        assert service.addresses["grpc"][1] == f"unix:{path}"
        for left, address in zip((4, 3), service.addresses["grpc"], strict=True):
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(address))
            answer = await Client(channel).ask(one("api_key=a"))
            assert answer.statuses[0].limit_remaining == left
    assert not path.exists()


SAME = (
    one("api_key=a"),
    one("api_key=a", hits=0),
    one("api_key=a", hits=4),
    one("api_key=a", hits=4),
    one("api_key=a", hits=1_000),
    one("api_key=b", "meter=tokens"),
    one("api_key=b", "meter=tokens", hits=250),
    one("api_key=b", "meter=tokens"),
    one("api_key=a", hits=2, negative=True),
    one("api_key=a"),
    one("api_key=c", "meter=no such"),
    one("api_key=c", domain="elsewhere"),
    one("route=health", "api_key=a"),
    question(describe("api_key=d"), describe("api_key=d", "meter=tokens"), describe("x=y")),
    question(describe("api_key=d", hits=5), describe("api_key=e", hits=6)),
)


async def test_transports_answer_alike_field_by_field(tmp_path: Path) -> None:
    """Which transport serves is nobody's business: equal calls have equal answers."""
    limits = (
        "{meter: requests, rate: 10/hour}",
        "{meter: requests, rate: 7/minute, algorithm: sliding_window, name: slide}",
        "{meter: requests, rate: 3/second, algorithm: token_bucket, burst: 6, name: burst}",
        "{meter: tokens, rate: 100/month}",
    )
    text = policy(*limits, families="x-ratelimit, ietf", more="exempt: [{route: health}]\n")
    said: dict[str, list[RateLimitResponse]] = {}
    for transport in TRANSPORTS:
        clock = ManualClock(NOON)
        async with (
            running(transport, tmp_path, text, clock) as service,
            grpc.aio.insecure_channel(service.addresses["grpc"][0]) as channel,
        ):
            client = Client(channel)
            said[transport] = []
            for request in SAME:
                said[transport].append(await client.ask(request))
                clock.advance(333_333)
    first, *others = said.values()
    assert {answer.overall_code for answer in first} == {OK, OVER_LIMIT}
    assert all(other == first for other in others)


async def test_answers_of_two_limiters_can_differ(tmp_path: Path) -> None:
    """The twin of the comparison: a limiter one hit ahead is told apart."""
    answers = []
    for hits in (1, 2):
        async with (
            running("h2corn", tmp_path) as service,
            grpc.aio.insecure_channel(service.addresses["grpc"][0]) as channel,
        ):
            answers.append(await Client(channel).ask(one("api_key=a", hits=hits)))
    assert answers[0] != answers[1]
