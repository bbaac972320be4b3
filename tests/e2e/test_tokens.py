"""Monthly tokens, charged when a response has ended, as Envoy read them in it.

The shipped configuration, with counts in the process and in Redis. Where a test needs to know how
much was counted, the key has far more than it uses.
"""

from __future__ import annotations

import json
import math
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tests.e2e.support import raw_http
from tests.e2e.support.counting import BACKENDS, Backend, backend_of, left, say, settles
from tests.e2e.support.limiter import SHIPPED_POLICY
from tests.e2e.support.promised import bearer, denial, shown
from tests.e2e.support.waiting import room_in_window, wait_for_instant, wait_until
from tests.rpc.support.calls import OK, OVER_LIMIT, describe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.e2e.support.deployment import Deployment

WINDOW = 6
SHORT = [f"short{number}" for number in range(5)]
"""Keys with such a window: a busy machine may have its denial too late, and try with another."""
KEYS = "\n  ".join(f"- {{key: {key}, tier: short}}" for key in SHORT)
RICH = 1_000_000
POLICY = f"""
domain: agent-api
subject: {{entry: api_key, scheme: bearer, default_tier: rich}}
tiers:
  rich: {{requests: 1_000/day, concurrent: 100, tokens: {RICH}/month}}
  short: {{tokens: 100_000/{WINDOW}s}}
  poor: {{requests: 0/day, tokens: {RICH}/month}}
  shared: {{}}
keys:
  {KEYS}
  - {{key: poor, tier: poor}}
  - key: small
    tier: shared
    org: acme
    limits: [{{meter: tokens, rate: 100_000/day, per: [org]}}]
  - key: large
    tier: shared
    org: acme
    limits: [{{meter: tokens, rate: {RICH}/day, per: [org]}}]
"""
INVOKE, STREAM, BATCH = (f"/v1/agents/a1/{name}" for name in ("invoke", "stream", "batch"))
TWO = b'{"inputs": ["x", "y"]}'


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """Where counts are, and what carries calls."""
    with backend_of(request.param) as running:
        yield running


@pytest.fixture(scope="module")
async def shared(backend: Backend) -> AsyncIterator[Deployment]:
    """For tests that each use keys of their own; by Envoy's account every call was answered."""
    async with backend.serves(POLICY) as deployment:
        yield deployment
        assert (await deployment.edge.outcomes()).keys() <= {"ok", "over_limit"}


async def invoke(
    deployment: Deployment,
    key: str,
    target: str = INVOKE,
    headers: raw_http.Headers | None = None,
) -> raw_http.Response:
    """Make one request."""
    body = TWO if BATCH in target else b""
    return await deployment.edge.request(
        target=target, headers=[*bearer(key), *(headers or [])], body=body
    )


async def used_up(deployment: Deployment, key: str, end: float) -> None:
    """Wait until a key has no tokens left, or the window has turned."""

    async def so() -> bool:
        return time.time() >= end or not await left(deployment.limiter, "tokens", key)

    await wait_until(so, description="the tokens are used")


async def test_a_key_whose_tokens_are_used_is_denied_until_the_window_turns(
    shared: Deployment,
) -> None:
    """The API is not asked while they are, and the headers tell of tokens, to the second."""
    for key in SHORT:
        end = await room_in_window(WINDOW, WINDOW * 0.7)
        assert (await invoke(shared, key, f"{INVOKE}?tokens=100000")).status == 200
        await used_up(shared, key, end)
        before, asked = time.time(), shared.edge.arrivals[INVOKE]
        denied = await invoke(shared, key)
        if time.time() < end:
            break
    assert time.time() < end, "no window was long enough for this machine"
    assert shared.edge.arrivals[INVOKE] == asked
    (wait,) = map(int, denied.all("retry-after"))
    assert math.ceil(end - time.time()) <= wait <= math.ceil(end - before)
    told = shown(denied)
    assert (told.limit, told.remaining, told.reset) == (100_000, 0, end)
    assert denial(denied)["limit"] == 100_000
    await wait_for_instant(end)
    assert (await invoke(shared, key)).status == 200


async def test_the_promised_month_of_a_free_key(backend: Backend) -> None:
    """100,000 tokens a month, as shipped: then 429 until the first of the next, in UTC."""
    async with backend.serves(SHIPPED_POLICY) as deployment:
        assert (await invoke(deployment, "demo-free", f"{INVOKE}?tokens=99999")).status == 200
        await settles(deployment.limiter, "tokens", "demo-free", 1)
        assert (await invoke(deployment, "demo-free")).status == 200, "one is left"
        await settles(deployment.limiter, "tokens", "demo-free", 0)
        now = datetime.now(UTC)
        denied = await invoke(deployment, "demo-free")
        assert denied.status == 429
        turn = datetime(now.year + now.month // 12, now.month % 12 + 1, 1, tzinfo=UTC)
        assert shown(denied).reset == turn.timestamp()
        assert denial(denied)["reset_at"] == turn.strftime("%Y-%m-%dT%H:%M:%SZ")


async def test_a_response_that_runs_over_the_limit_is_counted_in_full(shared: Deployment) -> None:
    """Both keys share a counter, and the one with the larger limit shows what is on it."""
    assert (await invoke(shared, "small", f"{INVOKE}?tokens=99999")).status == 200
    await settles(shared.limiter, "tokens", "large", RICH - 99_999)
    assert (await invoke(shared, "small", f"{STREAM}?tokens=50000")).status == 200
    await settles(shared.limiter, "tokens", "large", RICH - 149_999)
    assert await left(shared.limiter, "tokens", "small") == 0
    assert (await invoke(shared, "small")).status == 429
    assert (await invoke(shared, "large")).status == 200


@pytest.mark.parametrize(
    ("target", "tokens"),
    [
        pytest.param(f"{INVOKE}?tokens=7", 7, id="JSON"),
        pytest.param(f"{STREAM}?tokens=7", 7, id="events"),
        pytest.param(f"{STREAM}?tokens=40&usage=each", 40, id="events that each tell"),
        pytest.param(f"{BATCH}?tokens=7", 14, id="a batch"),
        pytest.param(f"{INVOKE}?tokens=7&pad=2000000", 7, id="JSON of 2 MB"),
        pytest.param(f"{STREAM}?tokens=7&events=2000", 7, id="many events"),
        pytest.param(f"{INVOKE}?tokens=1000000000", 1_000_000_000, id="as many as Envoy carries"),
    ],
)
async def test_tokens_are_counted_alike_however_they_come(
    shared: Deployment, target: str, tokens: int
) -> None:
    """Once each, and what the client sees is what the API sent."""
    key = f"alike-{target}"
    answer = await invoke(shared, key, target)
    assert answer.status == 200
    assert f'"total_tokens": {tokens}' in answer.body.decode()
    await settles(shared.limiter, "tokens", key, max(0, RICH - tokens))


async def test_a_client_that_accepts_compression_does_not_hide_its_tokens(
    shared: Deployment,
) -> None:
    """The API would compress for it, and nobody could read the tokens."""
    answer = await invoke(shared, "gzip", f"{INVOKE}?tokens=7", [("accept-encoding", b"gzip")])
    assert json.loads(answer.body)["usage"]["total_tokens"] == 7
    await settles(shared.limiter, "tokens", "gzip", RICH - 7)


@pytest.mark.parametrize(
    ("target", "status"),
    [
        pytest.param(f"{INVOKE}?usage=none", 200, id="JSON without usage"),
        pytest.param(f"{STREAM}?usage=none", 200, id="events without usage"),
        pytest.param(f"{INVOKE}?tokens=0", 200, id="none used"),
        pytest.param(f"{INVOKE}?status=503", 503, id="a failure"),
        pytest.param(f"{INVOKE}?reset=1", 502, id="cut off"),
    ],
)
async def test_a_reply_without_usage_charges_nothing(
    shared: Deployment, target: str, status: int
) -> None:
    """What is counted is what comes after it."""
    key = f"none-{target}"
    assert (await invoke(shared, key, target)).status == status
    await invoke(shared, key, f"{INVOKE}?tokens=7")
    await settles(shared.limiter, "tokens", key, RICH - 7)
    assert await left(shared.limiter, "concurrent", key) == 100


async def test_a_json_answer_over_the_bound_is_an_error_and_charges_nothing(
    shared: Deployment,
) -> None:
    """Envoy holds such an answer until it has read it, and will not hold more than that."""
    assert (await invoke(shared, "big", f"{INVOKE}?pad=5000000")).status == 500
    await invoke(shared, "big", f"{INVOKE}?tokens=7")
    await settles(shared.limiter, "tokens", "big", RICH - 7)


async def test_a_client_that_leaves_a_stream_is_charged_for_what_the_events_told(
    shared: Deployment,
) -> None:
    """The last event that came tells what was used by then; its lease is given back, too."""
    target = f"{STREAM}?usage=each&tokens=40&events=3&gap=0.2"
    reader, writer = await raw_http.begin(shared.edge.envoy.edge, target, "x-api-key: gone")
    await reader.readuntil(b'"total_tokens": 20')
    assert await left(shared.limiter, "concurrent", "gone") == 99
    writer.transport.abort()
    await settles(shared.limiter, "concurrent", "gone", 100)
    await settles(shared.limiter, "tokens", "gone", RICH - 20)


async def test_a_denied_request_takes_no_tokens(shared: Deployment) -> None:
    """A denial is not a response of the API, and nothing is told of it."""
    assert (await invoke(shared, "poor")).status == 429
    assert await left(shared.limiter, "tokens", "poor") == RICH


async def test_a_report_is_neither_denied_nor_lost_to_a_denial(shared: Deployment) -> None:
    """In one call with a request that is denied: that is denied, the report counts and is OK."""
    request = describe("api_key=poor", "route=invoke")
    report = describe("api_key=poor", "meter=tokens", "phase=done", hits=RICH + 5)
    answer = await say(shared.limiter, request, report)
    assert answer.overall_code == OVER_LIMIT
    assert [status.code for status in answer.statuses] == [OVER_LIMIT, OK]
    assert await left(shared.limiter, "tokens", "poor") == 0
    again = await say(shared.limiter, report)
    assert (again.overall_code, again.statuses[0].code) == (OK, OK)
    assert not again.response_headers_to_add
