"""Charged once, always: by a Redis that stalls, and for callers who do not wait for answers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e.support.redis_calls import dial, question
from tests.e2e.support.redis_cancels import cancels
from tests.e2e.support.redis_fleet import AS_SHIPPED_SILENCE, counters, run_fleet, until_up

if TYPE_CHECKING:
    from tests.support.redis.server import Server

STALL: Final = 0.8
"""Seconds for which Redis does nothing."""
CALLERS: Final = 20
POLICY: Final = """
domain: test
subject: {default_tier: t}
tiers: {t: {requests: 100/366d}}
on_store_failure: allow
"""


@pytest.mark.parametrize("silence", [AS_SHIPPED_SILENCE, "5s"])
async def test_a_stall_charges_a_call_at_most_once(redis_server: Server, silence: str) -> None:
    """Whether the limiter waits for it or not: redis-py, left alone, would charge twice.

    Who got an answer of the store's is charged once; who got the failure policy's, once or not.
    """
    async with (
        run_fleet(redis_server.url, POLICY, processes=1, silence=silence) as (limiter,),
        dial(limiter.address) as (line,),
    ):
        await line.ask(question("early"))  # from now on Redis knows the script
        with redis_server.paused():
            keys = [f"stalled-{number}" for number in range(CALLERS)]
            asked = [line.ask(question(key)) for key in keys]
            await asyncio.sleep(STALL)
        answers = await asyncio.gather(*asked)
        assert all(answer.passes for answer in answers)
        await until_up(limiter)
    charged = counters(redis_server)
    waited = [answer.header("X-RateLimit-Remaining") for answer in answers]
    assert set(charged.values()) == {1}
    assert waited == ["99" if silence == "5s" else None] * CALLERS
    # The first batch was on its way before anybody knew; of the rest, nothing was sent.
    assert 1 < len(charged) <= CALLERS + 1
    assert len(charged) == CALLERS + 1 or silence == AS_SHIPPED_SILENCE


async def test_callers_who_go_away_get_nobody_elses_answer(redis_server: Server) -> None:
    """Of 2,000 calls half are taken back at any moment: no wrong answer, and no new connection.

    What Redis was asked to decide is what it has counted.
    """
    seen = await cancels(redis_server, 2_000, seed=11)
    assert seen.wrong == []
    assert seen.reconnects == 0
    assert seen.failures == 0
    assert seen.counted == seen.decided
    assert seen.asked - seen.cancelled <= seen.counted <= seen.asked
    assert seen.cancelled > 500
