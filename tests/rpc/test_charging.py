"""What a call charges, over the wire: all or nothing, reports apart, one status per descriptor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest

from tests.rpc.support.calls import (
    OK,
    OVER_LIMIT,
    Client,
    describe,
    failure,
    one,
    outcome,
    question,
)

if TYPE_CHECKING:
    from ratelimitd._gen.envoy.service.ratelimit.v3.rls_pb2 import RateLimitRequest
    from ratelimitd.app import Service

FULL = 5
"""Requests per minute of `serving.POLICY`: its tightest limit once anything is used."""
UNUSED = 10
"""Requests per hour: of limits that nobody used, the longest window is shown."""


def mixed(key: str, *, hits: int = 1) -> RateLimitRequest:
    """Return a call that charges requests of two keys and holds a lease."""
    return question(
        describe(f"api_key={key}", hits=hits),
        describe("api_key=other", hits=hits),
        describe(f"api_key={key}", "meter=concurrent"),
    )


async def test_a_denied_call_charges_none_of_its_descriptors(client: Client) -> None:
    """All or nothing across descriptors, keys and meters: where one fails, none is charged."""
    await client.ask(one("api_key=a", hits=3))
    answer = await client.ask(mixed("a", hits=3))

    assert answer.overall_code == OVER_LIMIT
    assert [status.code for status in answer.statuses] == [OVER_LIMIT, OK, OK]
    assert not answer.dynamic_metadata.fields
    assert await client.remaining("api_key=a") == 2
    assert await client.remaining("api_key=other") == UNUSED
    assert await client.remaining("api_key=a", "meter=concurrent") == 2


async def test_an_allowed_call_charges_all_of_its_descriptors(client: Client) -> None:
    """The twin: the same call charges each of its parts when all of them pass."""
    answer = await client.ask(mixed("a", hits=3))

    assert answer.overall_code == OK
    assert await client.remaining("api_key=a") == 2
    assert await client.remaining("api_key=other") == 2
    assert await client.remaining("api_key=a", "meter=concurrent") == 1


async def test_a_denied_lease_keeps_requests_uncharged(client: Client) -> None:
    """All or nothing holds between meters of different kinds."""
    for _ in range(2):
        await client.ask(one("api_key=a", "meter=concurrent"))
    answer = await client.ask(mixed("a"))

    assert [status.code for status in answer.statuses] == [OK, OK, OVER_LIMIT]
    assert await client.remaining("api_key=a") == UNUSED


WRONG = {
    "no domain": (one("api_key=a", domain=""), grpc.StatusCode.INVALID_ARGUMENT),
    "no descriptors": (question(), grpc.StatusCode.INVALID_ARGUMENT),
    "65 descriptors": (
        question(*[describe("api_key=a")] * 65),
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    ),
    "65 entries": (
        one("api_key=a", *[f"e{index}=x" for index in range(64)]),
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    ),
    "one of two with 65 entries": (
        question(describe("api_key=a"), describe("api_key=a", *["e=x"] * 64)),
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    ),
}


@pytest.mark.parametrize(("request_", "code"), WRONG.values(), ids=WRONG)
async def test_errors_charge_nothing(
    service: Service, client: Client, request_: RateLimitRequest, code: grpc.StatusCode
) -> None:
    """What only an operator can send wrong ends in an error of its own, and changes nothing."""
    for _ in range(3):
        failed = await failure(client.ask(request_))
        assert failed.code is code
        assert failed.details
    assert await client.remaining("api_key=a") == UNUSED
    assert service.telemetry.counts["decisions", "allowed"] == 1


async def test_garbage_bytes_charge_nothing(client: Client) -> None:
    """Bytes that are no request are refused, and even a charge in front of them is not made."""
    wire = one("api_key=a").SerializeToString() + b"\xff\xff\xff"
    assert (await failure(client.send(wire))).code is grpc.StatusCode.INVALID_ARGUMENT
    assert await client.remaining("api_key=a") == UNUSED


async def test_reports_never_set_the_overall_code(client: Client) -> None:
    """What has happened is counted, into debt if need be, and its status is OK."""
    report = one("api_key=a", "meter=tokens", hits=1_000)
    for _ in range(2):
        answer = await client.ask(report)
        assert answer.overall_code == OK
        assert [status.code for status in answer.statuses] == [OK]
        assert not answer.response_headers_to_add
    assert await client.code("api_key=a", "meter=tokens") == OVER_LIMIT


async def test_a_report_is_counted_in_a_call_that_is_denied(client: Client) -> None:
    """Reports are no part of all or nothing: they state what has already happened."""
    call = question(
        describe("api_key=a", hits=FULL + 1), describe("api_key=b", "meter=tokens", hits=60)
    )
    answer = await client.ask(call)
    assert [status.code for status in answer.statuses] == [OVER_LIMIT, OK]
    assert await client.remaining("api_key=a") == UNUSED
    assert await client.remaining("api_key=b", "meter=tokens") == 40


async def test_statuses_stand_one_for_each_descriptor_in_their_order(client: Client) -> None:
    """Envoy pairs statuses with descriptors by position, also those that no limit applies to."""
    call = question(
        describe("nobody=x"),
        describe("api_key=a", "meter=tokens"),
        describe("api_key=a", "route=health"),
        describe("api_key=a"),
        describe("api_key=a", "meter=no such meter"),
        describe("api_key=a", "meter=tokens", "phase=done", hits=3),
    )
    answer = await client.ask(call)
    names = [status.current_limit.name for status in answer.statuses]
    assert names == ["", "tokens/month", "", "requests/minute", "", "tokens/month"]
    assert [status.HasField("current_limit") for status in answer.statuses] == [
        bool(name) for name in names
    ]


async def test_a_lease_travels_in_dynamic_metadata_and_gives_back_once(client: Client) -> None:
    """An acquisition's answer carries one opaque id; releasing it twice frees one place."""
    leases = []
    for _ in range(2):
        answer = await client.ask(one("api_key=a", "meter=concurrent"))
        leases.append(answer.dynamic_metadata["lease"])
    assert len(set(leases)) == 2
    assert all(isinstance(lease, str) and len(lease) >= 16 for lease in leases)
    assert await client.code("api_key=a", "meter=concurrent") == OVER_LIMIT

    for _ in range(2):
        done = one("api_key=a", "meter=concurrent", f"lease={leases[0]}", negative=True)
        assert (await client.ask(done)).overall_code == OK
    assert await client.remaining("api_key=a", "meter=concurrent") == 1


async def test_a_refund_gives_hits_back(client: Client) -> None:
    """`is_negative_hits` takes a charge back, and never below nothing used."""
    await client.ask(one("api_key=a", hits=3))
    assert await client.remaining("api_key=a") == 2
    await client.ask(one("api_key=a", hits=1_000, negative=True))
    assert await client.remaining("api_key=a") == UNUSED


HITS = {
    "absent": (None, OK, FULL - 1),
    "zero is a peek": (0, OK, UNUSED),
    "one": (1, OK, FULL - 1),
    "a billion": (10**9, OVER_LIMIT, UNUSED),
    "the most an uint64 holds": (2**64 - 1, OVER_LIMIT, UNUSED),
}


@pytest.mark.parametrize(("hits", "code", "left"), HITS.values(), ids=HITS)
async def test_hits_of_a_descriptor(client: Client, hits: int | None, code: int, left: int) -> None:
    """Absent means the request's, 0 asks without charging, and no number is too large to decide."""
    assert await client.code("api_key=a", hits=hits) == code
    assert await client.remaining("api_key=a") == left


async def test_hits_of_the_request_stand_for_descriptors_without_their_own(client: Client) -> None:
    """The request's `hits_addend` is a default; 0, which Envoy sends, means 1."""
    call = question(describe("api_key=a"), describe("api_key=b", hits=1), hits=3)
    assert (await client.ask(call)).overall_code == OK
    assert await client.remaining("api_key=a") == FULL - 3
    assert await client.remaining("api_key=b") == FULL - 1
    await client.ask(question(describe("api_key=b"), hits=0))
    assert await client.remaining("api_key=b") == FULL - 2


async def test_what_can_never_fit_names_no_wait(client: Client) -> None:
    """A call larger than its limit is told so, and waits for nothing."""
    answer = await client.ask(one("api_key=a", hits=2**63))
    assert {each.key for each in answer.response_headers_to_add} >= {"X-RateLimit-Limit"}
    assert b"exceeds_limit" in answer.raw_body
    assert "Retry-After" not in {each.key for each in answer.response_headers_to_add}


async def test_an_outcome_is_an_answer_or_a_failure(client: Client) -> None:
    """The twin of `failure`: an answer is not taken for one."""
    assert (await outcome(client.ask(one("api_key=a")))).overall_code == OK
