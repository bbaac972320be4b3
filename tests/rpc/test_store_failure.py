"""`on_store_failure` on the wire: what callers, operators and orchestrators see of an outage."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from ratelimitd import failure as failure_module
from ratelimitd.clock import ManualClock
from ratelimitd.rpc.health import STORE
from ratelimitd.rpc.ratelimit import SERVICE
from tests.rpc.support.calls import (
    OK,
    OVER_LIMIT,
    Client,
    describe,
    failure,
    header,
    one,
    question,
)
from tests.rpc.support.counting import until
from tests.rpc.support.serving import NOON, POLICY, count_by, running
from tests.rpc.test_listeners import get
from tests.support.failing import AWAY, Failing, Way

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from ratelimitd.app import Service

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
REPORT = one("api_key=a", "meter=tokens", "phase=done", hits=7)


class Served:
    """A limiter whose store fails as told, and a client of it."""

    def __init__(self, service: Service, store: Failing, client: Client) -> None:
        self.service = service
        self.store = store
        self.client = client

    async def health(self, name: str) -> int:
        """Return a service's status."""
        stub: Any = health_pb2_grpc.HealthStub(self.client.channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
        status: int = answer.status
        return status

    async def metrics(self) -> str:
        """Return what a scraper gets."""
        status, text = await get(self.service.addresses["admin"][0], "/metrics")
        assert status == 200
        return text


@contextlib.asynccontextmanager
async def served(transport: str, folder: Path, mode: str) -> AsyncIterator[Served]:
    """Serve `POLICY` under a mode from a store that can fail."""
    clock = ManualClock(NOON)
    text = f"{POLICY}on_store_failure: {mode}\n"
    async with running(transport, folder, text, clock) as service:
        store = Failing(clock)
        count_by(service, store)
        async with grpc.aio.insecure_channel(service.addresses["grpc"][0]) as channel:
            yield Served(service, store, Client(channel))
        store.way = Way.WELL


@pytest.mark.parametrize("way", AWAY)
async def test_local_answers_as_ever(transport: str, tmp_path: Path, way: Way) -> None:
    """Headers, statuses and the denial of a limit: no caller can tell."""
    async with served(transport, tmp_path, "local") as limiter:
        for _ in range(2):
            await limiter.client.ask(one("api_key=a"))
        limiter.store.way = way
        answers = [await limiter.client.ask(one("api_key=a")) for _ in range(4)]
    assert [answer.overall_code for answer in answers] == [OK, OK, OK, OVER_LIMIT]
    assert header(answers[2], "X-RateLimit-Remaining") == "5"
    assert answers[2].statuses[0].limit_remaining == 0
    assert header(answers[3], "Retry-After") == "30"
    assert json.loads(answers[3].raw_body)["error"]["message"] == "API rate limit exceeded"


async def test_local_grants_leases(transport: str, tmp_path: Path) -> None:
    """With an id like any other, which whoever reports it gives back."""
    async with served(transport, tmp_path, "local") as limiter:
        limiter.store.way = Way.NOT_ASKED
        asked = one("api_key=a", "meter=concurrent")
        leases = [(await limiter.client.ask(asked)).dynamic_metadata["lease"] for _ in range(2)]
        assert (await limiter.client.ask(asked)).overall_code == OVER_LIMIT
        done = one("api_key=a", "meter=concurrent", "phase=done", f"lease={leases[0]}")
        assert (await limiter.client.ask(done)).overall_code == OK
        assert (await limiter.client.ask(asked)).overall_code == OK


@pytest.mark.parametrize("way", AWAY)
async def test_allow_says_ok_and_nothing_more(transport: str, tmp_path: Path, way: Way) -> None:
    """No limit is shown, no header is sent, no lease is granted."""
    async with served(transport, tmp_path, "allow") as limiter:
        limiter.store.way = way
        both = question(describe("api_key=a"), describe("api_key=a", "meter=concurrent"))
        for _ in range(20):
            answer = await limiter.client.ask(both)
            assert (answer.overall_code, answer.raw_body) == (OK, b"")
            assert not answer.response_headers_to_add
            assert [status.code for status in answer.statuses] == [OK, OK]
            assert not any(status.HasField("current_limit") for status in answer.statuses)
            assert not answer.HasField("dynamic_metadata")


@pytest.mark.parametrize("way", AWAY)
async def test_deny_says_when_to_come_again(transport: str, tmp_path: Path, way: Way) -> None:
    """The promised code with a reason of its own; whoever reads it knows that no limit was hit."""
    async with served(transport, tmp_path, "deny") as limiter:
        limiter.store.way = way
        answer = await limiter.client.ask(one("api_key=a"))
    assert answer.overall_code == OVER_LIMIT
    assert [(each.key, each.value) for each in answer.response_headers_to_add] == [
        ("Retry-After", "1"),
        ("content-type", "application/json"),
    ]
    assert json.loads(answer.raw_body) == {
        "error": {
            "code": "RATE_LIMIT_EXCEEDED",
            "message": "rate limits cannot be checked at present",
            "details": {"retry_after": 1, "reason": "store_unavailable"},
            "status": 429,
        }
    }
    assert not answer.statuses[0].HasField("current_limit")


@pytest.mark.parametrize("way", AWAY)
async def test_error_leaves_it_to_envoy(transport: str, tmp_path: Path, way: Way) -> None:
    """UNAVAILABLE, which Envoy's own failure mode decides."""
    async with served(transport, tmp_path, "error") as limiter:
        limiter.store.way = way
        failed = await failure(limiter.client.ask(one("api_key=a")))
        assert failed.code is grpc.StatusCode.UNAVAILABLE
        assert (await limiter.client.ask(one("route=health"))).overall_code == OK


@pytest.mark.parametrize("mode", ["local", "allow", "deny", "error"])
async def test_a_report_is_ok_and_counts_when_the_store_is_back(
    transport: str, tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every mode, once, by itself."""
    monkeypatch.setattr(failure_module, "PAUSE", 0.01)
    async with served(transport, tmp_path, mode) as limiter:
        for way in AWAY:
            limiter.store.way = way
            assert (await limiter.client.ask(REPORT)).overall_code == OK
        limiter.store.way = Way.WELL
        await until(lambda: limiter.service._failure.is_up, "the outage is over")
        assert await limiter.client.remaining("api_key=a", "meter=tokens") == 100 - 28


async def test_operators_see_the_outage_and_orchestrators_do_not(
    transport: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Health has a name for the store; the server as a whole serves, and wants calls."""
    monkeypatch.setattr(failure_module, "PAUSE", 0.01)
    async with served(transport, tmp_path, "local") as limiter:
        assert await limiter.health(STORE) == SERVING
        limiter.store.way = Way.LOST
        await limiter.client.ask(one("api_key=a"))
        await limiter.client.ask(REPORT)
        assert await limiter.health(STORE) == NOT_SERVING
        assert [await limiter.health(name) for name in ("", SERVICE)] == [SERVING, SERVING]
        assert (await get(limiter.service.addresses["http"][0], "/readyz"))[0] == 200
        text = await limiter.metrics()
        assert 'ratelimitd_store_failures_total{mode="local"} 2.0' in text
        assert "ratelimitd_store_up 0.0" in text
        assert "ratelimitd_store_replay_queue 1.0" in text
        limiter.store.way = Way.WELL
        await until(lambda: limiter.service._failure.is_up, "the outage is over")
        assert await limiter.health(STORE) == SERVING
        text = await limiter.metrics()
        assert "ratelimitd_store_up 1.0" in text
        assert "ratelimitd_store_replayed_total 1.0" in text
