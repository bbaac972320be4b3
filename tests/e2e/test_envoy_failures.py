"""What the shipped Envoy configuration does when the limiter refuses, stalls or is away.

Judged by Envoy's own counters: a request that passed unlimited looks to its client like any other.
"""

from __future__ import annotations

import asyncio
import copy
from typing import TYPE_CHECKING

from tests.e2e.support.deployment import rate_limit_filter
from tests.e2e.support.edge import run_edge, shipped_config
from tests.e2e.support.fake_rls import allowed, serve_fake_rls
from tests.e2e.support.refusing_rls import INTERNAL_ERROR, REFUSED_STREAM, serve_refusing_rls

if TYPE_CHECKING:
    from tests.e2e.support.edge import Edge
    from tests.e2e.support.fake_rls import Answer, FakeRls

ROUNDS = 20
NOBODY = "127.0.0.1:9"
"""The discard port: privileged, and closed."""


async def test_a_refused_call_is_made_once_more(rls: FakeRls) -> None:
    """A refused stream never reached the limiter, so asking again is right, every single time."""
    async with serve_refusing_rls() as fake, run_edge(fake.address) as edge:
        for _ in range(ROUNDS):
            fake.resets = [REFUSED_STREAM]
            assert (await edge.request()).all("x-ratelimit-limit") == ["1000"]
        assert fake.calls == 2 * ROUNDS
        assert await edge.outcomes() == {"ok": ROUNDS}


async def test_by_default_envoy_waits_too_long_before_it_asks_again() -> None:
    """The twin: without our back-off most retries come after the timeout."""
    config = copy.deepcopy(shipped_config())
    ratelimit = rate_limit_filter(config)
    del ratelimit["rate_limit_service"]["grpc_service"]["retry_policy"]["retry_back_off"]
    async with serve_refusing_rls() as fake, run_edge(fake.address, config=config) as edge:
        for _ in range(ROUNDS):
            fake.resets = [REFUSED_STREAM]
            await edge.request()
        assert (await edge.outcomes())["failure_mode_allowed"] > ROUNDS // 2


async def test_a_call_that_may_have_been_counted_is_not_made_again() -> None:
    """Any other reset leaves open whether the limiter charged: the request passes, asked once."""
    async with serve_refusing_rls() as fake, run_edge(fake.address) as edge:
        fake.resets = [INTERNAL_ERROR]
        assert (await edge.request()).status == 200
        assert fake.calls == 1
        assert await edge.outcomes() == {"error": 1, "failure_mode_allowed": 1}


async def test_a_call_is_made_at_most_twice() -> None:
    """One retry, not more."""
    async with serve_refusing_rls() as fake, run_edge(fake.address) as edge:
        fake.resets = [REFUSED_STREAM] * 3
        assert (await edge.request()).status == 200
        assert fake.calls == 2
        assert await edge.outcomes() == {"error": 1, "failure_mode_allowed": 1}


async def test_without_a_limiter_requests_pass_and_are_counted() -> None:
    """An outage of the limiter is none of the API; `failure_mode_allowed` tells how many passed."""
    async with run_edge(NOBODY) as edge:
        for _ in range(3):
            answer = await edge.request()
            assert answer.status == 200
            assert answer.all("x-ratelimit-limit") == []
        assert await edge.outcomes() == {"error": 3, "failure_mode_allowed": 3}


async def test_a_limiter_that_is_late_is_not_waited_for(edge: Edge, rls: FakeRls) -> None:
    """After 100 ms the request passes, and the limiter sees its call cancelled."""
    cancelled = asyncio.Event()

    async def never(_: object) -> Answer:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return allowed()

    rls.answer = never
    assert (await edge.request()).status == 200
    async with asyncio.timeout(5):
        await cancelled.wait()
    assert len(rls.calls) == 1
    assert await edge.outcomes() == {"error": 1, "failure_mode_allowed": 1}


async def test_a_process_that_says_it_is_unwell_is_left_out(rls: FakeRls) -> None:
    """A limiter that drains gets no more calls while another can answer them."""
    async with (
        serve_fake_rls(serving=False) as draining,
        run_edge(draining.address, rls.address) as edge,
    ):
        for _ in range(ROUNDS):
            await edge.request()
        assert (len(draining.calls), len(rls.calls)) == (0, ROUNDS)


async def test_the_only_process_is_asked_even_when_it_says_it_is_unwell() -> None:
    """An answer from an unwell limiter is better than none."""
    async with serve_fake_rls(serving=False) as unwell, run_edge(unwell.address) as edge:
        await edge.request()
        assert await edge.outcomes() == {"ok": 1}
