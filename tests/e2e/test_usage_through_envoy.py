"""The customers' API as customers reach it: through the shipped Envoy, and charged to nobody."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from ratelimitd.accounts.reads import PER_ADDRESS
from tests.e2e.support.counting import BACKENDS, Backend, backend_of, settles
from tests.e2e.support.deployment import deploy, patient_config
from tests.e2e.support.edge import manager_of
from tests.e2e.support.limiter import SHIPPED_POLICY as SHIPPED
from tests.e2e.support.promised import HOUR, NAMES, bearer, ours, shown
from tests.e2e.support.raw_http import begin
from tests.e2e.support.waiting import room_in_window, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.e2e.support.deployment import Deployment
    from tests.e2e.support.edge import Edge
    from tests.e2e.support.raw_http import Response

PRO = bearer("demo-pro")
MOST_SLOW = 500
"""Under what the limiter takes from one address in a minute."""
PLACES = 64
"""Requests at once that Envoy passes on to the limiter's HTTP listener, waiting ones included."""


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """What the limiter runs on."""
    with backend_of(request.param) as running:
        yield running


@pytest.fixture
async def deployment() -> AsyncIterator[Deployment]:
    """A limiter behind Envoy."""
    async with deploy() as running:
        yield running


async def test_usage_tells_what_headers_tell_and_costs_nothing(backend: Backend) -> None:
    """The next request has what it would have had, and Envoy has not asked the limiter once."""
    async with backend.serves(SHIPPED) as running:
        edge = running.edge
        await room_in_window(HOUR, 20)
        first = shown(await edge.request(headers=PRO))
        await settles(running.limiter, "tokens", "demo-pro", 1_999_958)
        before = await edge.outcomes()
        for _ in range(7):
            answer = await edge.request("GET", "/v1/usage", PRO)
            assert answer.status == 200
            assert not ours(answer)
            told = json.loads(answer.body)
            assert told["requests"] == {"used": 1, "limit": 1000, "remaining": first.remaining}
            assert told["tokens"] == {"used": 42, "limit": 2_000_000, "remaining": 1_999_958}
        assert await edge.outcomes() == before
        held = {each["name"]: each["used"] for each in told["limits"]}
        assert held["concurrent"] == 0
        assert shown(await edge.request(headers=PRO)).remaining == first.remaining - 1
        assert (await edge.outcomes())["ok"] == before["ok"] + 1


async def test_what_is_the_apis_stays_the_apis(deployment: Deployment) -> None:
    """Only the limiter's own paths are its; what looks alike is asked about and passed on."""
    edge = deployment.edge
    for path in ("/v1/usage/", "/v1/usages", "/v1/alerts/a/b", "/docs.html", "/openapi.jsonx"):
        answer = await edge.request("GET", path, PRO)
        assert answer.status == 404
        assert [name for name in NAMES if answer.all(name)] == list(NAMES), path
        assert edge.arrivals.total() == 0  # the stub counts what it has a route for
    assert (await edge.request(headers=PRO)).status == 200
    assert edge.arrivals.total() == 1


async def test_one_request_shows_one_key(deployment: Deployment) -> None:
    """Two are refused before anybody reads them; none is what the limiter refuses."""
    two = await deployment.edge.request("GET", "/v1/usage", [*PRO, ("x-api-key", b"demo-free")])
    assert (two.status, json.loads(two.body)["error"]["code"]) == (400, "AMBIGUOUS_API_KEY")
    none = await deployment.edge.request("GET", "/v1/usage")
    assert (none.status, json.loads(none.body)["code"]) == (401, "INVALID_API_KEY")
    assert none.all("content-type") == ["application/problem+json"]


async def test_the_page_and_its_document_are_there(deployment: Deployment) -> None:
    """For people without a key, with all that the page is made of."""
    for path in ("/docs", "/docs/start.js", "/docs/assets/swagger-ui-bundle.js", "/openapi.json"):
        answer = await deployment.edge.request("GET", path)
        assert answer.status == 200, path
        assert not ours(answer)
    assert "/v1/usage" in json.loads(answer.body)["paths"]


async def test_a_forged_address_is_not_believed(deployment: Deployment) -> None:
    """Envoy tells the limiter who it is that asks; another caller is not held up by the first."""
    edge = deployment.edge

    async def ask(number: int, source: str) -> Response:
        forged = [("x-forwarded-for", f"203.0.113.{number % 250}".encode())]
        return await edge.request("GET", "/v1/usage", forged, source=source)

    statuses: list[int] = []
    while 429 not in statuses and len(statuses) < 3_000:  # ten more are due each second
        some = (ask(len(statuses) + number, "127.0.0.2") for number in range(20))
        statuses += [answer.status for answer in await asyncio.gather(*some)]
    assert set(statuses[:PER_ADDRESS]) == {401}
    assert set(statuses) == {401, 429}
    assert (await ask(0, "127.0.0.3")).status == 401


async def beside_slow_bodies(edge: Edge, gauges: str) -> int:
    """Return the status of a usage beside requests whose bodies do not come: `gauges` count them.

    A hundred, or more where Envoy answers some with 503 while it connects.
    """
    kind = "content-type: application/json"
    slow = [await begin(edge.envoy.edge, "/v1/alerts", kind, body=10) for _ in range(100)]

    async def are_there() -> bool:
        if (await edge.envoy.stats(gauges)).total() >= PLACES:
            return True
        if len(slow) < MOST_SLOW:
            slow.append(await begin(edge.envoy.edge, "/v1/alerts", kind, body=10))
        return False

    try:
        await wait_until(are_there, description="no place is left", within=60)
        return (await edge.request("GET", "/v1/usage", PRO)).status
    finally:
        for _, writer in slow:
            writer.transport.abort()


async def test_bodies_that_do_not_come_hold_nobody_up(deployment: Deployment) -> None:
    """Envoy keeps them until they are whole: it has 32 connections for all who ask."""
    assert await beside_slow_bodies(deployment.edge, r"^http\.edge\.downstream_rq_active$") == 200


async def test_else_they_would() -> None:
    """The twin."""
    config = patient_config()
    routes = manager_of(config)["route_config"]["virtual_hosts"][0]["routes"]
    (customers,) = (route for route in routes if route["name"] == "customers")
    del customers["typed_per_filter_config"]["envoy.filters.http.buffer"]
    async with deploy(config=config) as running:
        taken = r"^cluster\.limiter_http\.upstream_rq_(pending_)?active$"
        assert await beside_slow_bodies(running.edge, taken) == 503


async def test_without_the_limiter_its_own_paths_are_503(deployment: Deployment) -> None:
    """And nobody's request waits for them."""
    await deployment.limiter.terminate()
    answer = await deployment.edge.request("GET", "/v1/usage", PRO)
    assert answer.status == 503
    assert (await deployment.edge.request(headers=PRO)).status == 200
