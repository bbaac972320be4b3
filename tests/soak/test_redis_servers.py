"""Servers that are lost, join, or come back: what limiters make of it, in figures."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from typing import TYPE_CHECKING, Final

from tests.e2e.support.redis_calls import crowd, dial, question
from tests.e2e.support.redis_exact import POLICY
from tests.e2e.support.redis_faults import stage
from tests.e2e.support.redis_fleet import AS_SHIPPED_SILENCE, PATIENT, are_up, run_fleet, until_up
from tests.e2e.support.redis_outage import befall, is_policys, is_stores
from tests.e2e.support.waiting import wait_until
from tests.soak import report_redis
from tests.support.redis.cluster import slot_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.redis.cluster import Cluster
    from tests.support.redis.sentinel import Watched
    from tests.support.redis.server import Server

PROCESSES: Final = 4
LINKS: Final = 3
"""Connections of a process to one Redis: for counts, for registered keys, and for alerts."""
KILLS: Final = 20


async def test_a_primary_is_killed(own_sentinels: Watched) -> None:
    """Its replica is promoted: every call is answered meanwhile, and the store decides again."""

    @contextlib.asynccontextmanager
    async def killed() -> AsyncIterator[None]:
        await asyncio.to_thread(own_sentinels.kill_primary)
        yield

    seen = await befall("allow", own_sentinels.url, killed(), 0.0, AS_SHIPPED_SILENCE)
    away = [
        (key, each)
        for key, answers in seen.answers.items()
        for each in answers
        if seen.began + 1.2 <= each.asked and each.answered <= seen.returned
    ]
    obeyed = sum(is_policys("allow", key, each) for key, each in away)
    known = sum(is_stores(key, each) for key, each in away)
    passed, charged = seen.roomy
    assert seen.alive
    assert away
    assert obeyed + known == len(away)
    report_redis.rows[15] = (
        f"{max(0, passed - charged)} of {passed:,} hits lost; the store decides again "
        f"{seen.recovered - seen.began:.1f} s after the kill, {seen.recovery:.2f} s after all "
        f"Sentinels know; policy obeyed in {obeyed / len(away):.0%} of {len(away):,} calls"
    )


async def test_a_cluster_grows(own_cluster: Cluster) -> None:
    """All slots that are used move to a fourth server: nobody notices, nothing is lost."""

    @contextlib.asynccontextmanager
    async def resharded() -> AsyncIterator[None]:
        await asyncio.to_thread(grow)
        yield

    def grow() -> None:
        fourth = own_cluster.add_node()
        for node in own_cluster.nodes[:-1]:
            with node.client() as client:
                slots = {slot_of(key) for key in client.scan_iter("rl1:*")}
            if slots:
                own_cluster.reshard(sorted(slots), node, fourth)

    seen = await befall("error", own_cluster.url, resharded(), 1.0, PATIENT)
    passed, charged = seen.roomy
    moved = own_cluster.nodes[-1].ask("DBSIZE")
    assert seen.alive
    assert moved > 0
    assert not seen.odd(forgotten=False)
    assert charged == passed
    report_redis.rows[17] = (
        f"{seen.failures} errors, drift {charged - passed} of {passed:,} calls; {moved} keys moved"
    )


async def test_all_come_back_at_once() -> None:
    """Four processes under load lose their Redis: few connections, and soon all is steady."""
    async with stage() as at, run_fleet(at.url, POLICY, silence=AS_SHIPPED_SILENCE) as limiters:
        addresses = [limiter.address for limiter in limiters]
        async with dial(*addresses) as lines:
            stop = asyncio.Event()
            asked = itertools.takewhile(
                lambda _: not stop.is_set(), itertools.repeat(question("fixed_window"))
            )
            load = asyncio.create_task(crowd(lines, 16, asked))

            await until_up(*limiters)
            at.redis.kill()
            before = at.proxy.connections
            await asyncio.sleep(3)
            meanwhile = at.proxy.connections - before
            await asyncio.to_thread(at.redis.restart)
            returned, before = time.perf_counter(), at.proxy.connections
            peak = 0

            async def steady_again() -> bool:
                nonlocal peak
                peak = max(peak, at.proxy.open)
                return await are_up(*limiters)

            await wait_until(steady_again, description="all are back", within=20)
            seconds = time.perf_counter() - returned
            stop.set()
            await load
    after = at.proxy.connections - before
    assert peak <= PROCESSES * LINKS
    report_redis.rows[21] = (
        f"{peak} at once, {after} made in all, steady {seconds:.2f} s after the return; while it "
        f"was away {meanwhile / 3 / PROCESSES:.1f} attempts a second and process"
    )


async def test_keys_after_kills(redis_server: Server) -> None:
    """Limiters are killed in the middle of what they do: every key has an end all the same."""
    immortal, sizes = 0, []
    for number in range(KILLS):
        async with (
            run_fleet(redis_server.url, POLICY, processes=1, silence=PATIENT) as (limiter,),
            dial(limiter.address) as (line,),
        ):
            asked = [line.ask(question("token_bucket")) for _ in range(50 + number)]
            await asked[number]
            limiter.process.kill()
            await asyncio.gather(*asked)
        with redis_server.client() as client:
            keys = list(client.scan_iter("rl1:*"))
            immortal += sum(client.ttl(key) < 0 for key in keys)
            sizes += [client.memory_usage(key) for key in keys]
    assert sizes
    assert immortal == 0
    report_redis.rows[24] = (
        f"{immortal} without a TTL after {KILLS} kills; {sum(sizes) / len(sizes):.0f} bytes a key"
    )
