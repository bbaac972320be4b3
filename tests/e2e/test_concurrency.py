"""Concurrent requests: held from the request to the end of its response, whatever end that is.

The shipped configuration, with leases in the process and in Redis.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.e2e.support.counting import BACKENDS, Backend, backend_of, left, say, settles
from tests.e2e.support.deployment import Deployment, deploy, patient_config
from tests.e2e.support.edge import manager_of, run_edge
from tests.e2e.support.limiter import SHIPPED_POLICY
from tests.e2e.support.promised import bearer, denial, ours, shown
from tests.e2e.support.raw_http import begin
from tests.e2e.support.waiting import wait_until
from tests.rpc.support.calls import OK, OVER_LIMIT, describe

if TYPE_CHECKING:
    from asyncio import StreamReader as Reader
    from asyncio import StreamWriter as Writer
    from collections.abc import AsyncIterator, Iterator

    from ratelimitd._gen.envoy.extensions.common.ratelimit.v3.ratelimit_pb2 import (
        RateLimitDescriptor,
    )
    from tests.e2e.support.raw_http import Response

LEASE = 2.0
POLICY = """
domain: agent-api
subject: {entry: api_key, scheme: bearer, default_tier: free}
tiers:
  free: {requests: 1_000/day, concurrent: 2, tokens: 1_000/day}
  busy: {requests: 0/day, concurrent: 2, tokens: 1_000/day}
  spent: {requests: 1_000/day, concurrent: 2, tokens: 0/day}
  none: {requests: 1_000/day, concurrent: 0, tokens: 1_000/day}
keys:
  - {key: busy, tier: busy}
  - {key: spent, tier: spent}
  - {key: none, tier: none}
"""
SHORT_LEASE = f"""
domain: agent-api
subject: {{entry: api_key, scheme: bearer, default_tier: free}}
meters: {{concurrent: {{lease: {LEASE:g}s}}}}
tiers: {{free: {{concurrent: 2}}}}
"""
INVOKE = "/v1/agents/a1/invoke"
STREAM = "/v1/agents/a1/stream"
LONG = f"{INVOKE}?sleep=600"


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """Where leases are, and what carries calls."""
    with backend_of(request.param) as running:
        yield running


@pytest.fixture(scope="module")
async def shared(backend: Backend) -> AsyncIterator[Deployment]:
    """For tests that each use keys of their own; by Envoy's account every call was answered."""
    async with backend.serves(POLICY) as deployment:
        yield deployment
        assert (await deployment.edge.outcomes()).keys() <= {"ok", "over_limit"}


async def invoke(deployment: Deployment, key: str, target: str = INVOKE) -> Response:
    """Make one request."""
    return await deployment.edge.request(target=target, headers=bearer(key))


async def send(deployment: Deployment, key: str, target: str) -> tuple[Reader, Writer]:
    """Send a request on a connection of its own, whose end is the caller's business."""
    return await begin(deployment.edge.envoy.edge, target, f"x-api-key: {key}")


@contextlib.asynccontextmanager
async def held(deployment: Deployment, key: str, target: str = LONG) -> AsyncIterator[None]:
    """Hold a request that does not end, until the block does: then the client goes away."""
    before = deployment.edge.arrivals.total()
    _, writer = await send(deployment, key, target)
    try:
        await wait_until(
            lambda: deployment.edge.arrivals.total() > before, description="it is at the API"
        )
        yield
    finally:
        writer.transport.abort()


async def test_two_at_a_time_and_no_third(shared: Deployment) -> None:
    """The third is told which limit denied it and to come back in a second; others are free."""
    async with held(shared, "a"), held(shared, "a"):
        denied = await invoke(shared, "a")
        assert denied.status == 429
        assert denied.all("retry-after") == ["1"]
        assert (shown(denied).limit, shown(denied).remaining) == (2, 0)
        assert (denial(denied)["limit"], denial(denied)["retry_after"]) == (2, 1)
        assert (await invoke(shared, "b")).status == 200
    await settles(shared.limiter, "concurrent", "a", 2)
    assert (await invoke(shared, "a")).status == 200


async def test_a_denial_names_the_limit_in_its_status(shared: Deployment) -> None:
    """Envoy, and whoever asks directly, is told `concurrent` where that is what denied."""
    who = ("api_key=named", "route=invoke")
    async with held(shared, "named"), held(shared, "named"):
        answer = await say(shared.limiter, describe(*who), describe(*who, "meter=concurrent"))
    assert answer.overall_code == OVER_LIMIT
    assert [status.code for status in answer.statuses] == [OK, OVER_LIMIT]
    assert [status.current_limit.name for status in answer.statuses] == [
        "requests/day",
        "concurrent",
    ]


async def test_of_many_at_once_two_pass(shared: Deployment) -> None:
    """Twelve at the same instant, of which ten are answered while two are at the API."""
    asked = shared.edge.arrivals[INVOKE]
    crowd = await asyncio.gather(*(send(shared, "crowd", LONG) for _ in range(12)))
    answers = [asyncio.ensure_future(reader.readuntil(b"\r\n")) for reader, _ in crowd]
    try:
        await wait_until(
            lambda: sum(answer.done() for answer in answers) == 10, description="ten are answered"
        )
        assert {answer.result()[9:12] for answer in answers if answer.done()} == {b"429"}
        await wait_until(
            lambda: shared.edge.arrivals[INVOKE] == asked + 2, description="two are at the API"
        )
    finally:
        for answer, (_, writer) in zip(answers, crowd, strict=True):
            answer.cancel()
            writer.transport.abort()
        await asyncio.gather(*answers, return_exceptions=True)
    await settles(shared.limiter, "concurrent", "crowd", 2)
    assert await left(shared.limiter, "requests", "crowd") == 998, "a denial charges nothing"


@pytest.mark.parametrize(
    ("key", "limit"), [("busy", "requests"), ("spent", "tokens"), ("none", "concurrent")]
)
async def test_a_denied_request_holds_and_charges_nothing_whatever_denied_it(
    shared: Deployment, key: str, limit: str
) -> None:
    """Requests, tokens or concurrency: what had room keeps it, and no lease is made."""
    room = {"requests": 1_000, "tokens": 1_000, "concurrent": 2} | {limit: 0}
    denials = await asyncio.gather(*(invoke(shared, key) for _ in range(5)))
    assert [answer.status for answer in denials] == [429] * 5
    for meter, amount in room.items():
        assert await left(shared.limiter, meter, key) == amount
    who = (f"api_key={key}", "route=invoke")
    answer = await say(
        shared.limiter,
        describe(*who),
        describe(*who, "meter=tokens", hits=0),
        describe(*who, "meter=concurrent"),
    )
    assert answer.overall_code == OVER_LIMIT
    assert not answer.dynamic_metadata.fields


async def test_a_lease_that_is_forged_foreign_or_used_up_gives_nothing_back(
    shared: Deployment,
) -> None:
    """Whoever reaches the limiter can say anything; the lease it names was given to one key."""
    mine, theirs = ("api_key=mine", "meter=concurrent"), ("api_key=theirs", "meter=concurrent")
    leases = []
    for who in (mine, mine, theirs):
        answer = await say(shared.limiter, describe(*who))
        leases.append(answer.dynamic_metadata.fields["lease"].string_value)
    assert len({*leases, ""}) == 4
    forged = (leases[2], leases[0][:-1], leases[0] + "0", "0" * len(leases[0]), "", "x" * 5_000)
    for lease in forged:
        answer = await say(shared.limiter, _release(lease, *mine))
        assert (answer.overall_code, answer.statuses[0].code) == (OK, OK)
    assert await left(shared.limiter, "concurrent", "mine") == 0
    assert await left(shared.limiter, "concurrent", "theirs") == 1
    for _ in range(3):
        await say(shared.limiter, _release(leases[0], *mine), _release(leases[0], *mine))
    assert await left(shared.limiter, "concurrent", "mine") == 1, "once, however often it comes"
    renewed = (await say(shared.limiter, describe(*mine))).dynamic_metadata.fields["lease"]
    await say(shared.limiter, _release(leases[0], *mine))
    assert renewed.string_value not in leases
    assert await left(shared.limiter, "concurrent", "mine") == 0


def _release(lease: str, *who: str) -> RateLimitDescriptor:
    return describe(*who, "phase=done", f"lease={lease}", hits=1, negative=True)


async def test_a_release_is_not_lost_to_a_denial_in_the_same_call(shared: Deployment) -> None:
    """And what it gives back is there for the acquisition beside it."""
    who = ("api_key=both", "meter=concurrent")
    held = [await say(shared.limiter, describe(*who)) for _ in range(2)]
    first, second = (each.dynamic_metadata.fields["lease"].string_value for each in held)
    denied = await say(shared.limiter, describe("api_key=busy"), _release(first, *who))
    assert denied.overall_code == OVER_LIMIT
    assert await left(shared.limiter, "concurrent", "both") == 1
    await say(shared.limiter, describe(*who))
    assert (await say(shared.limiter, describe(*who))).overall_code == OVER_LIMIT
    passed = await say(shared.limiter, describe(*who), _release(second, *who))
    assert passed.overall_code == OK
    assert await left(shared.limiter, "concurrent", "both") == 0


@pytest.mark.parametrize(
    ("target", "status"),
    [
        pytest.param(INVOKE, 200, id="an answer"),
        pytest.param(f"{INVOKE}?usage=none", 200, id="an answer without usage"),
        pytest.param(f"{STREAM}?gap=0.05", 200, id="a stream"),
        pytest.param(f"{INVOKE}?status=503", 503, id="503"),
        pytest.param(f"{INVOKE}?reset=1", 502, id="cut off by the API"),
        pytest.param("/v1/nothing/here", 404, id="no such route"),
    ],
)
async def test_each_end_of_a_request_gives_its_lease_back(
    shared: Deployment, target: str, status: int
) -> None:
    """Three in a row would not fit otherwise."""
    key = f"end-{target}"
    for _ in range(3):
        assert (await invoke(shared, key, target)).status == status
        await settles(shared.limiter, "concurrent", key, 2)


@pytest.mark.parametrize("target", [LONG, f"{STREAM}?gap=100"])
async def test_a_client_that_goes_away_gives_its_lease_back(
    shared: Deployment, target: str
) -> None:
    """Before the API has answered, and in the middle of a stream."""
    key = "left-a-stream" if "stream" in target else "left"
    async with held(shared, key, target):
        assert await left(shared.limiter, "concurrent", key) == 1
    await settles(shared.limiter, "concurrent", key, 2)


async def test_what_an_envoy_held_that_was_killed_comes_back_with_the_end_of_the_leases(
    backend: Backend,
) -> None:
    """Nobody is left to give it back: it is denied until then, and no longer."""
    async with backend.serves(SHORT_LEASE) as deployment:
        async with held(deployment, "k"), held(deployment, "k"):
            began = time.monotonic()
            os.kill(deployment.edge.envoy.process.pid, signal.SIGKILL)
        async with run_edge(deployment.limiter.address) as second:
            again = Deployment(limiter=deployment.limiter, edge=second)
            answer = await invoke(again, "k")
            if time.monotonic() - began < LEASE * 0.8:
                assert answer.status == 429
            await settles(deployment.limiter, "concurrent", "k", 2)
            assert time.monotonic() - began < LEASE + 8, (
                "and the second Envoy takes a while to start"
            )
            assert (await invoke(again, "k")).status == 200


async def test_no_request_outlives_its_lease() -> None:
    """Envoy ends what takes longer, and takes no longer than the shipped policy's leases."""
    config = patient_config()
    bounds = manager_of(config)["common_http_protocol_options"]
    policy = yaml.safe_load(SHIPPED_POLICY.read_text("utf-8"))
    assert bounds["max_stream_duration"] == "900s"
    assert policy["meters"]["concurrent"]["lease"] == "15m"
    bounds["max_stream_duration"] = f"{LEASE / 6:g}s"
    async with deploy(SHORT_LEASE, config=config) as deployment:
        with pytest.raises(http.client.IncompleteRead):
            await invoke(deployment, "k", f"{STREAM}?gap=0.1&events=1000")
        await settles(deployment.limiter, "concurrent", "k", 2)


async def test_the_shipped_policy_limits_concurrency() -> None:
    """A free key has two; headers of what passes tell of the hour's requests, as promised."""
    async with (
        deploy(SHIPPED_POLICY) as deployment,
        held(deployment, "demo-free"),
    ):
        assert shown(await invoke(deployment, "demo-free")).limit == 100
        await settles(deployment.limiter, "concurrent", "demo-free", 1)
        async with held(deployment, "demo-free"):
            assert shown(await invoke(deployment, "demo-free")).limit == 2
            health = await deployment.edge.request("GET", "/health", bearer("demo-free"))
            assert (health.status, ours(health)) == (200, [])
