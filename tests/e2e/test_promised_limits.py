"""The API's public documentation, line by line: what each tier may do and what it is told.

Shipped Envoy configuration, shipped policy, the limiter as a process, on both transports.
"""

from __future__ import annotations

import contextlib
import math
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tests.e2e.support.deployment import Deployment, deploy
from tests.e2e.support.limiter import SHIPPED_POLICY
from tests.e2e.support.promised import HOUR, MINUTE, Shown, bearer, denial, ours, shown
from tests.e2e.support.waiting import room_in_window

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.e2e.support.raw_http import Headers

TIERS = [
    pytest.param("demo-free", 100, 10, id="free"),
    pytest.param("demo-pro", 1_000, 100, id="pro"),
    pytest.param("demo-team", 5_000, 500, id="team"),
    pytest.param("demo-enterprise", 20_000, 2_000, id="enterprise, limits of its own"),
    pytest.param("nobody-registered-me", 100, 10, id="unregistered, so free"),
]
INVOKE, STREAM, BATCH = (f"/v1/agents/a1/{name}" for name in ("invoke", "stream", "batch"))


@pytest.fixture(scope="module", params=["h2corn", "grpcio"])
async def transport(request: pytest.FixtureRequest) -> str:
    """What carries gRPC."""
    name: str = request.param
    return name


@contextlib.asynccontextmanager
async def without_errors(
    transport: str, policy: str | Path = SHIPPED_POLICY
) -> AsyncIterator[Deployment]:
    """A deployment in which, by Envoy's account, every call was answered."""
    async with deploy(policy, transport=transport) as deployment:
        yield deployment
        outcomes = await deployment.edge.outcomes()
        assert outcomes.keys() <= {"ok", "over_limit"}


@pytest.fixture(scope="module")
async def shared(transport: str) -> AsyncIterator[Deployment]:
    """For tests that each use keys of their own."""
    async with without_errors(transport) as deployment:
        yield deployment


@pytest.fixture(scope="module")
async def minutes(transport: str) -> AsyncIterator[Deployment]:
    """For tests that use up the minute of a tier's key."""
    async with without_errors(transport) as deployment:
        yield deployment


@pytest.fixture(scope="module")
async def hours(transport: str) -> AsyncIterator[Deployment]:
    """With the minutes' limits taken out: no hour of full minutes fits into a test."""
    policy = SHIPPED_POLICY.read_text("utf-8")
    for param in TIERS:
        policy = policy.replace(f", {param.values[2]:_}/minute]", "]")
    assert policy.count("/minute") == 1, "all but the one per address"
    async with without_errors(transport, policy) as deployment:
        yield deployment


@pytest.fixture
async def fresh(transport: str) -> AsyncIterator[Deployment]:
    """For tests that count addresses."""
    async with without_errors(transport) as deployment:
        yield deployment


@pytest.mark.parametrize(("key", "hour", "minute"), TIERS)
async def test_an_answer_shows_the_hours_limit_of_the_tier(
    shared: Deployment, key: str, hour: int, minute: int
) -> None:
    """Limit and remaining of the hour; its end as Unix time and in seconds from now, rounded up."""
    end = await room_in_window(HOUR, 2)
    before = time.time()
    answer = await shared.edge.request(headers=bearer(key))
    after = time.time()
    assert answer.status == 200
    told = shown(answer)
    assert (told.limit, told.remaining, told.reset) == (hour, hour - 1, end)
    assert math.ceil(end - after) <= told.reset_after <= math.ceil(end - before)
    assert answer.all("retry-after") == []


@pytest.mark.parametrize(("key", "hour", "minute"), TIERS)
async def test_the_minutes_limit_denies_and_is_then_the_one_shown(
    minutes: Deployment, key: str, hour: int, minute: int
) -> None:
    """As many as the minute allows, not one more; headers and body tell of the minute."""
    end = await room_in_window(MINUTE, 4)
    await minutes.limiter.charge(minute - 1, api_key=key)
    last = await minutes.edge.request(headers=bearer(key))
    assert (last.status, shown(last).remaining) == (200, hour - minute)
    denied = await minutes.edge.request(headers=bearer(key))
    told = shown(denied)
    assert (told.limit, told.remaining, told.reset) == (minute, 0, end)
    assert denied.all("retry-after") == [str(told.reset_after)]
    assert denial(denied) == {
        "limit": minute,
        "remaining": 0,
        "reset_at": datetime.fromtimestamp(end, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "retry_after": told.reset_after,
    }


async def test_a_free_key_has_ten_requests_a_minute_one_by_one(shared: Deployment) -> None:
    """Ten pass, each told of one less; the eleventh and the twelfth are denied alike."""
    await room_in_window(HOUR, 5)
    await room_in_window(MINUTE, 4)
    answers = [await shared.edge.request(headers=bearer("ten")) for _ in range(12)]
    assert [answer.status for answer in answers] == [200] * 10 + [429] * 2
    assert [shown(answer).remaining for answer in answers] == [*range(99, 89, -1), 0, 0]


@pytest.mark.parametrize(("key", "hour", "minute"), TIERS)
async def test_the_hours_limit_denies_too(
    hours: Deployment, key: str, hour: int, minute: int
) -> None:
    """As many as the hour allows, not one more."""
    end = await room_in_window(HOUR, 4)
    await hours.limiter.charge(hour - 1, api_key=key)
    last = await hours.edge.request(headers=bearer(key))
    assert (last.status, shown(last).remaining) == (200, 0)
    denied = await hours.edge.request(headers=bearer(key))
    told = shown(denied)
    assert (told.limit, told.remaining, told.reset) == (hour, 0, end)
    assert denial(denied)["retry_after"] == told.reset_after


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([("authorization", b"Bearer same")], id="bearer"),
        pytest.param([("x-api-key", b"same")], id="x-api-key"),
        pytest.param([("authorization", b"bearer same")], id="bearer in lower case"),
        pytest.param([("Authorization", b"BEARER   same")], id="bearer in capitals"),
    ],
)
async def test_a_key_is_one_subject_in_either_header(
    shared: Deployment, headers: Headers, request: pytest.FixtureRequest
) -> None:
    """However it is sent, it is charged to the same counter."""
    key = f"same-{request.node.name}".replace(" ", "-").encode()
    own = [(name, value.replace(b"same", key)) for name, value in headers]
    await room_in_window(HOUR, 2)
    first = await shared.edge.request(headers=[("x-api-key", key)])
    second = await shared.edge.request(headers=own)
    assert (shown(first).remaining, shown(second).remaining) == (99, 98)


@pytest.mark.parametrize(
    ("target", "body"),
    [
        pytest.param(INVOKE, b"", id="invoke"),
        pytest.param(f"{STREAM}?events=20", b"", id="a stream of many events"),
        pytest.param(BATCH, b'{"inputs": ["x", "y", "z"]}', id="a batch of three"),
        pytest.param("/v1/whatever/comes/later", b"", id="any other path"),
    ],
)
async def test_each_call_counts_as_one_request(
    shared: Deployment, target: str, body: bytes
) -> None:
    """A stream is one request, and a batch is one."""
    await room_in_window(HOUR, 2)
    headers = bearer(f"one-of-{target}")
    answers = [
        await shared.edge.request(target=target, headers=headers, body=body) for _ in range(2)
    ]
    assert [shown(answer).remaining for answer in answers] == [99, 98]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_health_is_never_limited(shared: Deployment, method: str) -> None:
    """A key that is over its limit may still ask after health, without a header of ours."""
    await room_in_window(MINUTE, 4)
    key = f"health-{method}"
    await shared.limiter.charge(10, api_key=key)
    assert (await shared.edge.request(headers=bearer(key))).status == 429
    before = await shared.edge.outcomes()
    for _ in range(15):
        answer = await shared.edge.request(method, "/health", bearer(key))
        assert (answer.status, ours(answer)) == (200, [])
    assert await shared.edge.outcomes() == before


async def test_without_a_key_each_address_has_a_counter(fresh: Deployment) -> None:
    """Callers without a key are told apart by their addresses, and an empty key is no key."""
    await room_in_window(HOUR, 3)
    sent: list[tuple[str, Headers]] = [
        ("127.0.0.1", []),
        ("127.0.0.2", []),
        ("127.0.0.1", [("x-api-key", b"")]),
        ("127.0.0.1", [("x-forwarded-for", b"192.0.2.1")]),
    ]
    answers = [await fresh.edge.request(headers=headers, source=at) for at, headers in sent]
    assert [shown(answer).remaining for answer in answers] == [99, 99, 98, 97]
    assert {shown(answer).limit for answer in answers} == {100}


async def test_invented_keys_share_the_limit_of_their_address(fresh: Deployment) -> None:
    """3,000 a minute from one address, whatever the keys; another address is not affected."""
    end = await room_in_window(MINUTE, 4)
    await fresh.limiter.charge(2_998, meter="address", masked_remote_address="127.0.0.1/32")
    answers = [await fresh.edge.request(headers=bearer(f"invented-{n}")) for n in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 429, 429]
    told = shown(answers[2])
    assert told == Shown(limit=3_000, remaining=0, reset=int(end), reset_after=told.reset_after)
    assert denial(answers[2])["limit"] == 3_000
    other = await fresh.edge.request(headers=bearer("invented-9"), source="127.0.0.3")
    assert other.status == 200
