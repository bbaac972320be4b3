"""`GET /v1/usage`: the promised shape, for whom, what it costs, and who may not."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import grpc.aio
import pytest

from ratelimitd._gen.ratelimitd.v1 import admin_pb2 as pb
from ratelimitd._gen.ratelimitd.v1.admin_pb2_grpc import AdminServiceStub
from ratelimitd.errors import StoreTimeoutError
from tests.rpc.support.calls import Client, header, one
from tests.rpc.support.http_api import Api, api_of, bearer, problem, spelled, x_api_key
from tests.rpc.support.serving import NOON, running
from tests.support.ops import MINUTE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from ratelimitd.app import Service
    from ratelimitd.clock import ManualClock

POLICY = """
domain: test
subject: {entry: api_key, scheme: bearer, default_tier: free}
attributes: [org]
tiers:
  free: {requests: [100/hour, 10/minute], concurrent: 2, tokens: 100_000/month}
  pro: {requests: [1_000/hour, 100/minute], concurrent: 10, tokens: 2_000_000/month}
  bare: {requests: 7/day}
  held: {concurrent: 3}
  odd:
    limits:
      - {meter: requests, rate: 50/hour, name: secret-trial, shadow: true}
      - {meter: requests, rate: 20/hour, per: [org]}
      - {meter: requests, rate: 10/hour, when: {route: batch}, name: batches}
      - {meter: requests, rate: 5/hour, per: [model], name: by-model}
keys:
  - {key: demo-pro, tier: pro}
  - {key: bare, tier: bare}
  - {key: held, tier: held}
  - {key: odd-one, tier: odd, org: acme}
  - {key: odd-two, tier: odd, org: acme}
headers: {report: requests/hour}
"""
PROMISED = {
    "period": "2022-01-01T00:00:00Z",
    "requests": {"used": 23, "limit": 1000, "remaining": 977},
    "tokens": {"used": 45230, "limit": 2000000, "remaining": 1954770},
    "limits": [
        {
            "name": "requests/hour",
            "meter": "requests",
            "window": "hour",
            "used": 23,
            "limit": 1000,
            "remaining": 977,
            "reset_at": "2022-01-01T13:00:00Z",
            "forecast": None,
        },
        {
            "name": "requests/minute",
            "meter": "requests",
            "window": "minute",
            "used": 23,
            "limit": 100,
            "remaining": 77,
            "reset_at": "2022-01-01T12:01:00Z",
            "forecast": {"exceeds": False, "projected": 45, "reached_at": None},
        },
        {
            "name": "concurrent",
            "meter": "concurrent",
            "window": None,
            "used": 0,
            "limit": 10,
            "remaining": 10,
            "reset_at": None,
            "forecast": None,
        },
        {
            "name": "tokens/month",
            "meter": "tokens",
            "window": "month",
            "used": 45230,
            "limit": 2000000,
            "remaining": 1954770,
            "reset_at": "2022-02-01T00:00:00Z",
            "forecast": None,
        },
    ],
}
"""What a pro key is answered that has used 23 requests and 45,230 tokens."""
DENYING = POLICY.replace("default_tier: free", "default_tier: deny")


class World:
    """A limiter, what customers ask of it, Envoy, and its administrator."""

    def __init__(self, service: Service, caller: Client, admin: Any) -> None:  # noqa: ANN401
        self.service = service
        self.api = api_of(service)
        self.caller = caller
        self.admin = admin


@contextlib.asynccontextmanager
async def started(folder: Path, clock: ManualClock, policy: str = POLICY) -> AsyncIterator[World]:
    """Run a limiter with its three kinds of callers."""
    async with (
        running("h2corn", folder, policy, clock) as service,
        grpc.aio.insecure_channel(service.addresses["grpc"][0]) as limiter,
        grpc.aio.insecure_channel(service.addresses["admin"][0]) as admin,
    ):
        yield World(service, Client(limiter), AdminServiceStub(admin))


@pytest.fixture
async def world(tmp_path: Path, clock: ManualClock) -> AsyncIterator[World]:
    """A limiter of one's own."""
    async with started(tmp_path, clock) as running_world:
        yield running_world


@pytest.fixture
def api(world: World) -> Api:
    """Its customers' API."""
    return world.api


async def test_the_answer_is_what_was_promised(world: World) -> None:
    """Period, requests and tokens to the letter; then every limit, and what comes of it."""
    await world.caller.ask(one("api_key=Bearer demo-pro", hits=23))
    report = ("api_key=Bearer demo-pro", "meter=tokens", "phase=done")
    await world.caller.ask(one(*report, hits=45_230))
    assert await world.api.usage("demo-pro") == PROMISED


async def test_the_promised_members_come_first(api: Api) -> None:
    """As the documentation prints them, for people who read it."""
    answer = await api.ask("/v1/usage", bearer("demo-pro"))
    assert answer.body.startswith(
        b'{"period":"2022-01-01T00:00:00Z","requests":{"used":0,"limit":1000,"remaining":1000},'
        b'"tokens":{"used":0,"limit":2000000,"remaining":2000000},"limits":['
    )


async def test_each_way_to_show_a_key_is_the_same_key(world: World) -> None:
    """Those of the policy's scheme; an unregistered key is limited as well."""
    await world.caller.ask(one("api_key=Bearer somebody"))
    shown = (
        bearer("somebody"),
        ("authorization", b"bEARER  somebody"),
        ("authorization", b"somebody"),
        x_api_key("somebody"),
        ("x-api-key", b"Bearer somebody"),
    )
    for header_ in shown:
        answer = await world.api.ask("/v1/usage", header_)
        assert b'"requests":{"used":1,"limit":100,"remaining":99}' in answer.body, header_


async def test_a_meter_without_a_limit_is_null(api: Api) -> None:
    """The longest window stands for a meter whose reported limit the key has not."""
    bare = await api.usage("bare")
    assert bare["requests"] == {"used": 0, "limit": 7, "remaining": 7}
    assert bare["tokens"] is None
    assert bare["period"] == "2022-01-01T00:00:00Z"
    held = await api.usage("held")
    assert (held["requests"], held["tokens"]) == (None, None)
    assert [each["name"] for each in held["limits"]] == ["concurrent"]


async def test_what_a_customer_cannot_know_is_not_told(world: World) -> None:
    """No shadow limit, and no limit that others' requests tell apart; its organisation's is."""
    await world.caller.ask(one("api_key=odd-one", "route=batch", hits=4))
    told = await world.api.usage("odd-two")
    assert [(each["name"], each["used"]) for each in told["limits"]] == [
        ("requests/hour", 4),
        ("batches", 0),
    ]
    assert told["requests"] == {"used": 4, "limit": 20, "remaining": 16}


async def test_reading_charges_nothing(world: World) -> None:
    """The next request's remaining is what it would have been."""
    before = await world.caller.ask(one("api_key=demo-pro"))
    assert header(before, "X-RateLimit-Remaining") == "999"
    for _ in range(5):
        assert (await world.api.usage("demo-pro"))["requests"]["used"] == 1
    after = await world.caller.ask(one("api_key=demo-pro"))
    assert header(after, "X-RateLimit-Remaining") == "998"


async def test_tokens_in_debt_and_a_billing_day(world: World) -> None:
    """What was used is told although it is more than the limit; the period begins on its day."""
    record = pb.KeyRecord(tier="free", billing_day=15)
    await world.admin.AddKey(pb.AddKeyRequest(key=pb.Key(api_key="late"), record=record))
    await world.caller.ask(one("api_key=late", "meter=tokens", "phase=done", hits=100_007))
    told = await world.api.usage("late")
    assert told["period"] == "2021-12-15T00:00:00Z"
    assert told["tokens"] == {"used": 100_007, "limit": 100_000, "remaining": 0}


async def test_whoever_may_not_is_told_nothing_else(tmp_path: Path, clock: ManualClock) -> None:
    """No key, no key at all, two keys, an unknown, a revoked, an expired one: one answer."""
    async with started(tmp_path, clock, DENYING) as world:
        over = pb.KeyRecord(tier="pro")
        over.expires.FromMicroseconds(NOON + MINUTE)
        for name, record in {
            "gone": pb.KeyRecord(tier="pro", revoked=True),
            "off": pb.KeyRecord(tier="pro", disabled=True),
            "over": over,
        }.items():
            await world.admin.AddKey(pb.AddKeyRequest(key=pb.Key(api_key=name), record=record))
        assert (await world.api.usage("over"))["requests"]["used"] == 0
        clock.advance(2 * MINUTE)
        world.service.keys.pass_time()
        shown: list[list[tuple[str, bytes]]] = [
            [],
            [("authorization", b"")],
            [("authorization", b"Basic ZGVtby1wcm86")],
            [("authorization", b"Bearer demo-pro x")],
            [bearer("nobody")],
            [bearer("gone")],
            [bearer("over")],
            [bearer("off")],
            [x_api_key("nobody")],
            [bearer("demo-pro"), x_api_key("demo-pro")],
            [bearer("demo-pro"), bearer("demo-pro")],
            [("authorization", b"Bearer \xff\xfe")],
        ]
        answers = [await world.api.ask("/v1/usage", *headers) for headers in shown]
        assert len(spelled(answers)) == 1
        problem(answers[0], 401, "INVALID_API_KEY")
        assert answers[0].all("www-authenticate") == ["Bearer"]
        assert (await world.api.usage("demo-pro"))["requests"]["used"] == 0


async def test_a_key_reads_so_often_and_no_more(world: World, clock: ManualClock) -> None:
    """Sixty a minute, each key by itself; Retry-After is true."""
    for _ in range(60):
        await world.api.usage("demo-pro")
    denied = await world.api.ask("/v1/usage", x_api_key("demo-pro"))
    problem(denied, 429, "TOO_MANY_READS")
    assert denied.all("retry-after") == ["1"]
    assert not denied.all("x-ratelimit-limit")
    await world.api.usage("somebody-else")
    clock.advance(999_999)
    assert (await world.api.ask("/v1/usage", bearer("demo-pro"))).status == 429
    clock.advance(1)
    await world.api.usage("demo-pro")
    assert (await world.api.ask("/v1/usage", bearer("demo-pro"))).status == 429


async def test_a_silent_store_is_no_fault_of_the_caller(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503, and when to try again."""

    async def silent(*_: object) -> None:
        raise StoreTimeoutError("the store said nothing of sk-secret")

    monkeypatch.setattr(world.service._counters, "take", silent)
    answer = await world.api.ask("/v1/usage", bearer("demo-pro"))
    problem(answer, 503, "UNAVAILABLE")
    assert answer.all("retry-after") == ["1"]
    assert b"sk-secret" not in answer.body
