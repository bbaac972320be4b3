"""The stub API, as the other end-to-end tests rely on it."""

from __future__ import annotations

import gzip
import http.client
import json

import pytest

from ratelimitd.devkit.stub_api import LIMIT_HEADERS, Arrivals, serve_stub_api
from tests.e2e.support.raw_http import request


async def test_each_answer_tells_its_tokens() -> None:
    """Invoke and batch answer JSON with `usage.total_tokens`, a batch with some for each input."""
    async with serve_stub_api() as api:
        one = await request(api, target="/v1/agents/a1/invoke?tokens=7")
        many = await request(api, target="/v1/agents/a1/batch", body=b'{"inputs": ["x", "y"]}')
    assert json.loads(one.body) == {
        "agent": "a1",
        "output": "done",
        "usage": {"input_tokens": 0, "output_tokens": 7, "total_tokens": 7},
    }
    usage = {"input_tokens": 60, "output_tokens": 24, "total_tokens": 84}
    assert json.loads(many.body)["usage"] == usage


async def test_a_stream_is_server_sent_events_with_the_usage_near_the_end() -> None:
    """As many events as asked for, then the usage, then the end mark."""
    async with serve_stub_api() as api:
        answer = await request(api, target="/v1/agents/a1/stream?events=2&gap=0.01")
    assert answer.all("content-type") == ["text/event-stream; charset=utf-8"]
    assert answer.body.decode().split("\n\n") == [
        'data: {"delta": "word 0"}',
        'data: {"delta": "word 1"}',
        'data: {"usage": {"input_tokens": 30, "output_tokens": 12, "total_tokens": 42}}',
        "data: [DONE]",
        "",
    ]


async def test_a_stream_may_tell_what_it_took_so_far() -> None:
    """As APIs do whose customers may leave in the middle."""
    async with serve_stub_api() as api:
        answer = await request(api, target="/v1/agents/a1/stream?events=2&usage=each&tokens=30")
    used = [10, 20, 30]
    assert [f'"total_tokens": {count}' in answer.body.decode() for count in used] == [True] * 3


@pytest.mark.parametrize("path", ["invoke", "stream", "batch"])
async def test_it_says_nothing_of_tokens_when_told(path: str) -> None:
    """The answer is whole all the same."""
    body = b'{"inputs": ["x"]}'
    async with serve_stub_api() as api:
        answer = await request(api, target=f"/v1/agents/a1/{path}?usage=none", body=body)
    assert answer.status == 200
    assert b"usage" not in answer.body


@pytest.mark.parametrize("path", ["invoke", "stream", "batch"])
async def test_it_cuts_the_connection_as_told(path: str) -> None:
    """A status and the beginning of an answer, and then nobody is there."""
    async with serve_stub_api() as api:
        with pytest.raises(http.client.IncompleteRead):
            await request(api, target=f"/v1/agents/a1/{path}?reset=1")


async def test_it_compresses_json_for_whoever_accepts_gzip() -> None:
    """Then nobody on the way can read it as it is."""
    accepting = [("accept-encoding", b"gzip, br")]
    async with serve_stub_api() as api:
        answer = await request(api, target="/v1/agents/a1/invoke?pad=1000", headers=accepting)
    assert answer.all("content-encoding") == ["gzip"]
    assert json.loads(gzip.decompress(answer.body))["pad"] == "x" * 1000


@pytest.mark.parametrize("path", ["invoke", "stream", "batch"])
async def test_it_fails_as_told(path: str) -> None:
    """`status` makes any endpoint fail, which still counts as an arrival."""
    arrivals = Arrivals()
    async with serve_stub_api(arrivals=arrivals) as api:
        answer = await request(api, target=f"/v1/agents/a1/{path}?status=503")
    assert answer.status == 503
    assert arrivals == {f"/v1/agents/a1/{path}": 1}


async def test_it_sends_every_header_of_the_limiter_when_told() -> None:
    """Without this the tests about stripping would pass for want of anything to strip."""
    async with serve_stub_api() as api:
        answer = await request(api, target="/v1/agents/a1/invoke?limit_headers=1")
    assert {name: answer.all(name.lower()) for name in LIMIT_HEADERS} == {
        name: [value] for name, value in LIMIT_HEADERS.items()
    }


@pytest.mark.parametrize("body", [b"", b"[]", b'{"inputs": 3}', b"x" * (2 << 20)])
async def test_a_batch_without_inputs_is_refused(body: bytes) -> None:
    """Anything but a list of inputs, or too much of it, is a 400."""
    async with serve_stub_api() as api:
        assert (await request(api, target="/v1/agents/a1/batch", body=body)).status == 400
