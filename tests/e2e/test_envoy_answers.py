"""What a customer gets through the shipped Envoy configuration: our headers, each once."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import pytest

from ratelimitd.devkit.stub_api import LIMIT_HEADERS
from tests.e2e.support.edge import manager_of, run_edge, shipped_config
from tests.e2e.support.fake_rls import OK_HEADERS, Answer, denied

if TYPE_CHECKING:
    from tests.e2e.support.edge import Edge
    from tests.e2e.support.fake_rls import FakeRls


async def deny(_: object) -> Answer:
    """The answer of a limiter that denies everything."""
    return denied()


@pytest.mark.parametrize(
    "target",
    ["/v1/agents/a1/invoke?limit_headers=1", "/v1/agents/a1/stream?limit_headers=1", "/none"],
)
async def test_each_header_of_the_limiter_comes_once(edge: Edge, target: str) -> None:
    """An API that sends every one of our names does not double any: the limiter's value stands."""
    answer = await edge.request(target=target)
    assert {name: answer.all(name.lower()) for name, _ in OK_HEADERS} == {
        name: [value] for name, value in OK_HEADERS
    }


async def test_the_api_may_say_retry_after_with_its_own_failure(edge: Edge) -> None:
    """Retry-After of an upstream 503 is the API's own, and stays."""
    answer = await edge.request(target="/v1/agents/a1/invoke?status=503&limit_headers=1")
    assert answer.status == 503
    assert answer.all("retry-after") == [LIMIT_HEADERS["Retry-After"]]


async def test_a_denial_is_the_limiters_answer_word_for_word(edge: Edge, rls: FakeRls) -> None:
    """Body, content type and headers of a 429 come from the limiter, and nothing of Envoy's."""
    rls.answer = deny
    answer = await edge.request()
    assert answer.status == 429
    assert answer.body == denied().raw_body
    assert answer.all("content-type") == ["application/json"]
    assert answer.all("retry-after") == ["17"]
    assert [answer.all(name.lower()) for name, _ in OK_HEADERS] == [[v] for _, v in OK_HEADERS]
    assert not [name for name, _ in answer.headers if name.startswith("x-envoy")]
    assert not edge.arrivals


async def test_a_grpc_client_is_told_resource_exhausted(edge: Edge, rls: FakeRls) -> None:
    """UNAVAILABLE would invite a gRPC client to try again at once."""
    rls.answer = deny
    answer = await edge.request(headers=[("content-type", b"application/grpc")])
    assert answer.all("grpc-status") == ["8"]


async def test_a_refusal_is_json(edge: Edge) -> None:
    """Envoy's own 400 has the shape of the API's errors."""
    answer = await edge.request(headers=[("x-api-key", b"a"), ("authorization", b"b")])
    assert answer.all("content-type") == ["application/json"]
    assert answer.body.startswith(b'{"error": {"code": "AMBIGUOUS_API_KEY", "message": "Send one')
    assert answer.body.endswith(b'"status": 400}}')


@pytest.mark.parametrize("own_idle_timeout", [True, False])
async def test_an_agent_may_be_silent_for_longer_than_the_listener_allows(
    rls: FakeRls, own_idle_timeout: bool
) -> None:
    """The stream's route has an idle time of its own; without that line the answer is cut short."""
    config = copy.deepcopy(shipped_config())
    manager = manager_of(config)
    manager["stream_idle_timeout"] = "0.2s"
    (host,) = manager["route_config"]["virtual_hosts"]
    if not own_idle_timeout:
        (stream,) = (route for route in host["routes"] if route["name"] == "stream")
        del stream["route"]["idle_timeout"]
    async with run_edge(rls.address, config=config) as edge:
        whole = await edge.request(target="/v1/agents/a1/stream?sleep=0.5&events=1")
    assert whole.body.endswith(b"[DONE]\n\n") == own_idle_timeout
