"""LimiterService over each transport: decisions with every limit's state, and mistakes by field."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest

from ratelimitd._gen.ratelimitd.v1 import limiter_pb2 as pb
from ratelimitd.keys import DEVELOPMENT_SECRET, Hasher
from tests.rpc.support.calls import Client, one
from tests.rpc.support.limiter_service import METHODS, SERVICE, Service, amounts, asks, failing
from tests.rpc.support.serving import NOON, prepare, running
from tests.rpc.test_listeners import get

if TYPE_CHECKING:
    from pathlib import Path

    from ratelimitd import app

INVALID = grpc.StatusCode.INVALID_ARGUMENT


def states(answer: pb.DecideResponse) -> dict[str, tuple[int, int, int, bool]]:
    """Return limit, used, remaining and denied of each limit by name."""
    return {
        each.name: (each.limit, each.used, each.remaining, each.denied)
        for each in answer.decision.limits
    }


async def test_an_answer_tells_every_limit(limiter: Service) -> None:
    """One ask of `requests` meets the hour and the minute; both are told, as they now stand."""
    answer = await limiter.decide("a", "requests=2")
    assert answer.decision.allowed
    assert states(answer) == {
        "requests/hour": (10, 2, 8, False),
        "requests/minute": (5, 2, 3, False),
    }
    assert {limit.meter for limit in answer.decision.limits} == {"requests"}
    assert answer.decision.decided_at.ToMicroseconds() == NOON
    minute = answer.decision.limits[1]
    assert minute.reset_at.ToMicroseconds() % 60_000_000 == 0
    assert not answer.HasField("lease")


async def test_the_headers_are_those_that_envoy_gets(limiter: Service, client: Client) -> None:
    """Names, values and order: what is copied from here is what Envoy would have added."""
    answer = await limiter.decide("a", "requests")
    told = await client.ask(one("api_key=a", hits=0))
    assert [(each.name, each.value) for each in answer.decision.headers] == [
        (each.key, each.value) for each in told.response_headers_to_add
    ]


async def test_a_denial_is_an_answer(limiter: Service, client: Client) -> None:
    """It says why, until when, and what to send to the customer; the key's first word is theirs."""
    await limiter.decide("a", "requests=5")
    answer = await limiter.decide("a", "requests")
    told = await client.ask(one("api_key=a"))
    decision = answer.decision
    assert (decision.allowed, decision.reason) == (False, pb.REASON_OVER_LIMIT)
    assert decision.retry_after.seconds == 30
    assert states(answer)["requests/minute"] == (5, 5, 0, True)
    assert decision.limits[1].retry_after.seconds == 30
    assert not decision.limits[0].HasField("retry_after")
    assert decision.body.encode() == told.raw_body
    assert json.loads(decision.body)["error"]["message"] == decision.message
    assert ("Retry-After", "30") in [(each.name, each.value) for each in decision.headers]


async def test_what_never_fits_has_no_wait(limiter: Service) -> None:
    """Waiting would not help, so that none is told."""
    decision = (await limiter.decide("a", "requests=11")).decision
    assert decision.reason == pb.REASON_EXCEEDS_LIMIT
    assert not decision.HasField("retry_after")


async def test_one_call_is_all_or_nothing(limiter: Service) -> None:
    """Whatever denies, nothing of the call is charged and no lease is held."""
    await limiter.decide("a", "tokens=100")
    answer = await limiter.decide("a", "requests", "concurrent", "tokens")
    assert not answer.decision.allowed
    assert not answer.HasField("lease")
    assert await limiter.used("a", "requests") == {"requests/hour": 0, "requests/minute": 0}
    assert await limiter.used("a", "concurrent") == {"concurrent": 0}


async def test_a_peek_charges_nothing_and_asks_for_its_amount(limiter: Service) -> None:
    """`peek` with an amount says whether that much would pass; however often, nothing is used."""
    for _ in range(2):
        assert (await limiter.decide("a", "requests=5?")).decision.allowed
        assert not (await limiter.decide("a", "requests=6?")).decision.allowed
    zero = await limiter.decide("a", "requests=0")
    assert states(zero)["requests/minute"] == (5, 0, 5, False)


async def test_postpaid_meters_are_asked_first_and_told_after(limiter: Service) -> None:
    """Without an amount tokens are peeked at; an amount has been used, and always counts."""
    assert (await limiter.decide("a", "tokens")).decision.allowed
    report = await limiter.decide("a", "tokens=150")
    assert report.decision.allowed
    assert states(report) == {"tokens/month": (100, 150, 0, False)}
    assert not report.decision.headers
    assert not (await limiter.decide("a", "tokens")).decision.allowed


async def test_nothing_in_particular_is_one_request(limiter: Service) -> None:
    """The shortest question is whether this key may make a request."""
    assert states(await limiter.decide("a"))["requests/minute"] == (5, 1, 4, False)


async def test_a_hash_stands_for_its_key(limiter: Service) -> None:
    """Whoever knows the limiter's secret may name the subject, and it is the same subject."""
    subject = Hasher(DEVELOPMENT_SECRET).key("a").hex()
    await limiter.decide("a", "requests")
    request = pb.DecideRequest(domain="test", subject=subject, asks=asks("requests"))
    assert states(await limiter.stub.Decide(request))["requests/minute"] == (5, 2, 3, False)
    large = Hasher(DEVELOPMENT_SECRET).key("large").hex()
    known = await limiter.stub.Decide(pb.DecideRequest(domain="test", subject=large.upper()))
    assert list(states(known)) == ["requests/hour"]


async def test_without_a_key_the_policy_says_what_becomes_of_it(limiter: Service) -> None:
    """`missing: allow`: it passes, and no limit applies."""
    answer = await limiter.stub.Decide(pb.DecideRequest(domain="test"))
    assert (answer.decision.allowed, list(answer.decision.limits)) == (True, [])


async def test_an_exempt_route_is_free(limiter: Service) -> None:
    """Entries are the policy's to look at, as Envoy's are."""
    answer = await limiter.decide("a", "requests=11", entries={"route": "health"})
    assert (answer.decision.allowed, list(answer.decision.limits)) == (True, [])


async def test_a_question_that_was_asked_before_is_read_anew_under_another_policy(
    service: app.Service, limiter: Service, tmp_path: Path
) -> None:
    """What is remembered of it is the present policy's."""
    assert states(await limiter.decide("a", "requests"))["requests/hour"] == (10, 1, 9, False)
    gpu = await failing(limiter.decide("a", "gpu"))
    assert gpu.fields == ("asks[0].meter",)
    file = tmp_path / "policy.yaml"
    file.write_text(
        file.read_text()
        .replace("10/hour", "20/hour")
        .replace("meters: {", "meters: {gpu: prepaid, ")
    )
    await service.reload()
    assert states(await limiter.decide("a", "requests"))["requests/hour"] == (20, 2, 18, False)
    assert (await limiter.decide("a", "gpu")).decision.allowed


SHADOWY = """\
domain: test
subject: {entry: authorization, scheme: bearer, default_tier: plain, missing: deny}
tiers:
  plain:
    limits:
      - {meter: requests, rate: 5/minute}
      - {meter: requests, rate: 1/minute, when: {route: a}, shadow: true, name: strict}
"""


async def test_shadow_limits_are_told_and_deny_nothing(transport: str, tmp_path: Path) -> None:
    """What a shadow limit would do stands beside it; customers' headers know nothing of it."""
    async with (
        running(transport, tmp_path, SHADOWY) as service,
        grpc.aio.insecure_channel(service.addresses["grpc"][0]) as channel,
    ):
        limiter = Service(channel)
        await limiter.decide("a", "requests", entries={"route": "a"})
        answer = await limiter.decide("a", "requests", entries={"route": "a"})
        assert answer.decision.allowed
        strict = answer.decision.limits[1]
        assert (strict.name, strict.shadow, strict.denied) == ("strict", True, True)
        assert {each.value for each in answer.decision.headers} & {"strict", "1"} == set()
        refused = await limiter.stub.Decide(pb.DecideRequest(domain="test"))
        assert refused.decision.reason == pb.REASON_KEY_REFUSED
        assert refused.decision.message == "API key is missing"
        wrong = await failing(limiter.decide("two words"))
        assert wrong.fields == ("api_key",)


MANY = {f"e{number}": "" for number in range(61)}
MISTAKES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "no domain": ({"domain": ""}, ("domain",)),
    "an unknown domain": ({"domain": "elsewhere"}, ("domain",)),
    "an empty key": ({"api_key": ""}, ("api_key",)),
    "a long key": ({"api_key": "k" * 8193}, ("api_key",)),
    "no hash": ({"subject": "a"}, ("subject",)),
    "an unknown meter": ({"asks": asks("requests", "tokenz")}, ("asks[1].meter",)),
    "too much": ({"asks": asks(f"requests={2**53}")}, ("asks[0].amount",)),
    "two leases": ({"asks": asks("concurrent=2")}, ("asks[0].amount",)),
    "65 asks": ({"asks": asks("requests") * 65}, ("asks",)),
    "61 entries": ({"entries": MANY}, ("entries",)),
    "16 KiB of entries": ({"entries": {"route": "r" * 16_384}}, ("entries",)),
    "control entries": (
        {"entries": {"meter": "tokens", "phase": "done", "lease": "x", "api_key": "b"}},
        ("entries[api_key]", "entries[lease]", "entries[meter]", "entries[phase]"),
    ),
    "two faults": (
        {"entries": {"meter": "tokens"}, "asks": asks("a", "concurrent=9")},
        ("entries[meter]", "asks[0].meter", "asks[1].amount"),
    ),
}


@pytest.mark.parametrize(("fields", "at_fault"), MISTAKES.values(), ids=MISTAKES)
async def test_a_mistake_is_told_by_its_field_and_changes_nothing(
    limiter: Service, fields: dict[str, Any], at_fault: tuple[str, ...]
) -> None:
    """All mistakes of a call at once; what was sent is not repeated."""
    named = {"domain": "test", "asks": asks("requests"), **fields}
    if "subject" not in named:
        named.setdefault("api_key", "very-secret")
    refused = await failing(limiter.stub.Decide(pb.DecideRequest(**named)))
    assert (refused.code, refused.fields) == (INVALID, at_fault)
    for sent in ("very-secret", "tokenz", "elsewhere", "kkk"):
        assert sent not in refused.text
    assert (await limiter.used("very-secret", "requests"))["requests/minute"] == 0


@pytest.mark.parametrize("method", METHODS)
async def test_bytes_that_are_no_request_are_the_callers_fault(
    limiter: Service, method: str
) -> None:
    """INVALID_ARGUMENT on each method, whatever cannot be read: here a text that is no UTF-8."""
    refused = await failing(limiter.send(method, b"\x0a\x01\xff"))
    assert (refused.code, refused.fields) == (INVALID, ("",))


async def test_it_is_served_where_envoys_service_is(client: Client, tmp_path: Path) -> None:
    """Health knows it by its name, on the same listener."""
    service = prepare("h2corn", tmp_path)
    assert SERVICE in service.handlers.services
    check: Any = client.channel.unary_unary("/grpc.health.v1.Health/Check")
    assert await check(b"\x0a" + bytes([len(SERVICE)]) + SERVICE.encode()) == b"\x08\x01"


async def test_an_api_key_is_in_nothing_that_leaves_the_limiter(
    service: app.Service, limiter: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in answers, errors, tickets, logs or metrics; nor is anything that it is part of."""
    caplog.set_level(0)
    key = "sk-very-secret"
    told = [await limiter.decide(key, "requests", "concurrent"), await limiter.decide(key)]
    asked = pb.ReserveRequest(domain="test", api_key=key, estimates=amounts(tokens=5))
    ticket = (await limiter.stub.Reserve(asked)).reservation.id
    settled = pb.SettleRequest(reservation_id=ticket, actual=amounts(tokens=7))
    told.append(await limiter.stub.Settle(settled))
    wrong = [
        await failing(limiter.decide(key, "tokenz", entries={"meter": key})),
        await failing(limiter.release(key, key * 20)),
        await failing(limiter.stub.Settle(pb.SettleRequest(reservation_id=key))),
    ]
    await failing(limiter.send("Decide", b"\x12\xff" + key.encode()))
    status, metrics = await get(service.addresses["admin"][0], "/metrics")
    assert status == 200
    assert 'ratelimitd_reservations_total{outcome="settled"} 1.0' in metrics
    opened = base64.urlsafe_b64decode(ticket + "=" * (-len(ticket) % 4))
    places = [str(told), str(wrong), metrics, caplog.text, opened.decode("latin-1")]
    assert [place for place in places if key in place or key.encode().hex() in place] == []
