"""What the shipped Envoy configuration tells the limiter of a request, and when it asks at all."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import pytest

from tests.e2e.support.edge import run_edge, shipped_config

if TYPE_CHECKING:
    from tests.e2e.support.edge import Edge
    from tests.e2e.support.fake_rls import Descriptors, FakeRls
    from tests.e2e.support.raw_http import Headers

ADDRESS = [
    (b"meter", b"address"),
    (b"remote_address", b"127.0.0.1"),
    (b"masked_remote_address", b"127.0.0.1/32"),
]
TOKENS, CONCURRENT = (b"meter", b"tokens"), (b"meter", b"concurrent")
EVERY_LEGAL_BYTE = bytes({*range(0x21, 0x7F)} - {ord(",")})


def descriptors(route: bytes, key: bytes | None = None) -> Descriptors:
    """The four descriptors of a request from this machine."""
    api_key = [] if key is None else [(b"api_key", key)]
    who = [*api_key, (b"route", route), (b"remote_address", b"127.0.0.1")]
    return [who, ADDRESS, [*who, TOKENS], [*who, CONCURRENT]]


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        pytest.param([("authorization", b"Bearer k1")], b"Bearer k1", id="bearer"),
        pytest.param([("authorization", b"k1")], b"k1", id="no scheme"),
        pytest.param([("authorization", b"Bearer \t k1")], b"Bearer \t k1", id="any white space"),
        pytest.param([("authorization", b"Bearer")], b"Bearer", id="a scheme alone"),
        pytest.param([("x-api-key", b"k1")], b"k1", id="x-api-key"),
        pytest.param([], None, id="no key"),
        pytest.param([("x-api-key", b"")], b"", id="an empty key is sent as an empty value"),
        pytest.param([("x-api-key", b""), ("x-api-key", b"k1")], b"k1", id="empty beside one"),
    ],
)
async def test_each_request_is_one_call_about_its_key_and_its_address(
    edge: Edge, rls: FakeRls, headers: Headers, key: bytes | None
) -> None:
    """One call carries the key's descriptors and the address's; without a key all go all the same.

    The hits are left to the limiter, but for tokens: these are looked at, by 0 hits.
    """
    assert (await edge.request(headers=headers)).status == 200
    assert rls.calls == [descriptors(b"invoke", key)]
    (request,) = rls.requests
    assert request.domain == b"agent-api"
    assert request.hits_addend == 0
    named = [descriptor.HasField("hits_addend") for descriptor in request.descriptors]
    assert named == [False, False, True, False]
    assert request.descriptors[2].hits_addend.value == 0


@pytest.mark.parametrize(
    ("method", "target", "route"),
    [
        ("POST", "/v1/agents/a1/invoke", b"invoke"),
        ("POST", "/v1/agents/a1/invoke?x=/stream", b"invoke"),
        ("POST", "/v1//agents/b/../a1/%69nvoke", b"invoke"),
        ("POST", "/v1/agents/a1/stream", b"stream"),
        ("POST", "/v1/agents/a1/batch", b"batch"),
        ("POST", "/v1/agents/a1/invoke/", b"other"),
        ("GET", "/v1/anything/new", b"other"),
        ("POST", "/health", b"other"),
        ("GET", "/health/", b"other"),
        ("GET", "/health;x", b"other"),
    ],
)
async def test_the_route_is_named_and_what_has_no_name_is_asked_about_as_other(
    edge: Edge, rls: FakeRls, method: str, target: str, route: bytes
) -> None:
    """Every path but a GET or HEAD of /health is asked about, however it is spelt."""
    await edge.request(method, target)
    assert rls.calls == [descriptors(route)]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_health_makes_no_call(edge: Edge, rls: FakeRls, method: str) -> None:
    """The health route is answered without the limiter, key or no key."""
    answer = await edge.request(method, "/health?verbose", [("x-api-key", b"k1")])
    assert answer.status == 200
    assert rls.calls == []
    assert await edge.outcomes() == {}


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([("authorization", b"Bearer k1"), ("x-api-key", b"k1")], id="both headers"),
        pytest.param([("authorization", b""), ("x-api-key", b"k1")], id="both, one empty"),
        pytest.param([("authorization", b"Bearer a"), ("authorization", b"Bearer b")], id="bearer"),
        pytest.param([("x-api-key", b"a"), ("x-api-key", b"b")], id="x-api-key"),
        pytest.param([("x-api-key", b"a"), ("X-API-Key", b"a")], id="the same one twice"),
        pytest.param([("x-api-key", b"a,b")], id="comma"),
        pytest.param([("authorization", b"Bearer a, Bearer b")], id="comma in bearer"),
        pytest.param([("x_api_key", b"a")], id="underscores"),
        pytest.param([("authorization", b"Bearer a b")], id="a word behind the key"),
        pytest.param([("authorization", b"Bearer\ta\tb")], id="tabs"),
        pytest.param([("authorization", b"Bearer a b\xff")], id="a word that is no UTF-8"),
        pytest.param([("authorization", b"Bearer a\xa0b")], id="a space of Latin-1"),
        pytest.param([("authorization", "Bearer a\u2003b".encode())], id="a space of Unicode"),
        pytest.param([("x-api-key", b"a b")], id="x-api-key with a space"),
        pytest.param([("x-api-key", b"a\tb")], id="x-api-key with a tab"),
        pytest.param([("x-api-key", b"a b\xff")], id="x-api-key that is no UTF-8"),
        pytest.param([("x-api-key", b"a\x85")], id="x-api-key with a line end of Latin-1"),
    ],
)
async def test_a_request_with_more_than_one_key_is_refused(
    edge: Edge, rls: FakeRls, headers: Headers
) -> None:
    """It is charged to nobody and reaches nobody: the limiter and the API might read other keys.

    So it is with anything beside the key, which would make a new one of it for the limiter alone.
    """
    assert (await edge.request(headers=headers)).status == 400
    assert rls.calls == []
    assert not edge.arrivals


async def test_without_inline_headers_a_second_key_would_reach_the_api(rls: FakeRls) -> None:
    """The twin of the test above: what `inline_headers` is for, seen without it."""
    config = copy.deepcopy(shipped_config())
    del config["inline_headers"]
    async with run_edge(rls.address, config=config) as edge:
        answer = await edge.request(headers=[("x-api-key", b"a"), ("x-api-key", b"b")])
    assert answer.status == 200
    assert rls.calls == [descriptors(b"invoke", b"a")]


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(b"k" + EVERY_LEGAL_BYTE + b"k", id="every byte that a key may hold"),
        pytest.param(b"k" * (60 << 10), id="60 KiB"),
    ],
)
async def test_any_key_reaches_the_limiter_as_it_is(edge: Edge, rls: FakeRls, key: bytes) -> None:
    """Envoy passes a key on byte by byte, and long ones too."""
    assert (await edge.request(headers=[("x-api-key", key)])).status == 200
    assert rls.calls == [descriptors(b"invoke", key)]
    assert await edge.outcomes() == {"ok": 1}


async def test_headers_over_the_bound_are_refused_before_the_limiter(
    edge: Edge, rls: FakeRls
) -> None:
    """A bound there must be, and beyond it a request is answered 431 without a call."""
    assert (await edge.request(headers=[("x-api-key", b"k" * (97 << 10))])).status == 431
    assert rls.calls == []


async def test_a_caller_cannot_choose_its_address(edge: Edge, rls: FakeRls) -> None:
    """X-Forwarded-For from outside counts for nothing, nor do Envoy's own headers."""
    forged = [("x-forwarded-for", b"192.0.2.7"), ("x-envoy-external-address", b"192.0.2.7")]
    await edge.request(headers=forged)
    assert rls.calls == [descriptors(b"invoke")]


async def test_an_ipv6_network_of_64_bits_is_one_address(rls: FakeRls) -> None:
    """The masked entry leaves out the half of an IPv6 address that its owner picks at will."""
    async with run_edge(rls.address, edge="[::1]:0") as edge:
        await edge.request()
    assert rls.calls[0][1] == [
        (b"meter", b"address"),
        (b"remote_address", b"::1"),
        (b"masked_remote_address", b"::/64"),
    ]
