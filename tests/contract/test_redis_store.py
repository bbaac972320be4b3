"""What the Redis store promises beyond the contract, on real servers at real time."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ratelimitd.errors import StoreError, StoreTimeoutError
from ratelimitd.model import Kind, Limit, Op
from ratelimitd.stores.ports import ID_LIFETIME
from ratelimitd.stores.redis.opening import open_redis
from tests.support.collector import no_collector
from tests.support.ops import (
    DAY,
    HOURLY,
    MINUTE,
    MONTHLY,
    acquire,
    bucket,
    charge,
    counter,
    fixed,
    leases,
    peek,
    refund,
    release,
    renew,
    report,
    sliding,
)
from tests.support.patience import next_turn, take_once

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from ratelimitd.stores.redis.counters import RedisCounters
    from tests.support.redis.server import Server

PATIENT = 10.0
LIMITS = (fixed(100, MONTHLY), sliding(100), bucket(1, HOURLY, burst=100))


@contextlib.asynccontextmanager
async def processes(
    url: str, count: int, silence: float = PATIENT
) -> AsyncIterator[list[RedisCounters]]:
    """Open as many stores as a fleet of so many processes would."""
    stores = [open_redis(url, silence) for _ in range(count)]
    try:
        for store in stores:
            await store.start()
        yield stores
    finally:
        for store in stores:
            await store.close()


def commands(server: Server, name: str) -> int:
    """Return how often the server was asked to do something."""
    with server.client() as client:
        stats = client.info("commandstats")
    return int(stats.get(f"cmdstat_{name}", {}).get("calls", 0))


def state(server: Server) -> dict[bytes, int]:
    """Return all plain counts."""
    with server.client() as client:
        return {key: int(client.get(key)) for key in client.scan_iter("rl1:*")}


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.algorithm.value)
async def test_a_fleet_lets_exactly_the_limit_pass(any_server: Server, limit: Limit) -> None:
    """Four processes of 25 callers each ask 1,000 times for one key."""
    call = (charge(limit),)
    async with processes(any_server.url, 4) as stores:

        async def caller(store: RedisCounters) -> int:
            return sum([(await store.take(call)).passed for _ in range(10)])

        passed = await asyncio.gather(*(caller(store) for store in stores for _ in range(25)))
    assert sum(passed) == 100


async def test_what_waits_together_travels_together(redis_server: Server) -> None:
    """A hundred decisions of one turn are one command."""
    async with processes(redis_server.url, 1) as (store,):
        await store.take((charge(fixed(10**6)),))
        before = commands(redis_server, "evalsha")
        calls = [(charge(fixed(10**6), who=f"{number}"),) for number in range(100)]
        await asyncio.gather(*(store.take(call) for call in calls))
        assert commands(redis_server, "evalsha") == before + 1


async def test_a_caller_who_goes_on_costs_redis_nothing(redis_server: Server) -> None:
    """A full counter is asked about once; a refund is seen at once."""
    call = (charge(fixed(1, MONTHLY)),)
    async with processes(redis_server.url, 1) as (store,):
        assert (await store.take(call)).passed
        before = commands(redis_server, "evalsha")
        denied = [await store.take(call) for _ in range(200)]
        assert not any(taken.passed for taken in denied)
        assert {taken.standings[0].before for taken in denied} == {1}
        # Once, and once more for each second that a slow machine takes.
        asked = commands(redis_server, "evalsha") - before
        assert asked == 1 + (denied[-1].now - denied[0].now) // 1_000_000
        await store.take((refund(fixed(1, MONTHLY)),))
        assert (await store.take(call)).passed


async def test_a_script_that_redis_forgets_is_given_again(any_server: Server) -> None:
    """Nobody sees it, and nothing is charged twice."""
    call = (charge(fixed(10**6, MONTHLY)),)
    async with processes(any_server.url, 1) as (store,):
        with any_server.client() as client:
            for _ in range(20):
                await store.take(call)
                client.script_flush()
        assert (await store.take(call)).standings[0].after == 21
        assert store.figures()["store_script_reloads_total"] >= 20


async def test_a_silent_redis_charges_at_most_once(own_server: Server) -> None:
    """A call that gave up is not sent again: what the server did late, it did once."""
    call = (charge(fixed(10**6, MONTHLY)),)
    async with processes(own_server.url, 1, silence=0.05) as (store,):
        await take_once(store, call)
        before = await take_once(store, call)
        own_server.pause()
        with pytest.raises(StoreTimeoutError):
            await store.take(call)
        own_server.resume()
        after = await take_once(store, call)
        assert before + 1 <= after <= before + 2


async def test_callers_who_go_away_leave_no_trace(redis_server: Server) -> None:
    """No wrong answer, no new connection; what was decided was charged once."""
    generator = random.Random(7)
    limits = {name: fixed(10**6 + index, MONTHLY) for index, name in enumerate("abcdefgh")}
    calls = {name: (charge(limit, who=name),) for name, limit in limits.items()}
    async with processes(redis_server.url, 1) as (store,):
        with redis_server.client() as client:
            before = client.info("stats")["total_connections_received"]
            decided = await asyncio.gather(*(one(store, calls, generator) for _ in range(2_000)))
            assert client.info("stats")["total_connections_received"] == before
        right = [taken for taken in decided if taken is not None]
        assert all(right)
        used = sum(state(redis_server).values())
        assert len(right) <= used <= 2_000


async def one(
    store: RedisCounters, calls: Mapping[str, tuple[Op, ...]], generator: random.Random
) -> bool | None:
    """Ask for somebody, and perhaps go away; say whether the answer was his."""
    name = generator.choice(sorted(calls))
    task = asyncio.ensure_future(store.take(calls[name]))
    for _ in range(generator.randrange(6)):
        await next_turn()
    if generator.random() < 0.5:
        task.cancel()
    try:
        taken = await task
    except asyncio.CancelledError:
        return None
    return taken.standings[0].limit is calls[name][0].limit


async def test_a_report_with_an_id_is_counted_once(any_server: Server) -> None:
    """However often it is sent, by whichever process."""
    limit = fixed(10, MONTHLY)
    told = (Op(Kind.REPORT, counter(limit), limit, 3),)
    async with processes(any_server.url, 2) as stores:
        for store in (*stores, *stores):
            await store.take(told, b"the id of this call")
        taken = await stores[0].take((charge(limit),))
        assert taken.standings[0].before == 3
        await stores[0].take(told, b"another id")
        assert (await stores[0].take((charge(limit),))).standings[0].before == 7


async def test_an_id_is_remembered_for_as_long_as_was_asked(any_server: Server) -> None:
    """At least for as long as a call of unknown outcome may be sent again; then it is forgotten."""
    limit = fixed(10, MONTHLY)
    told = (report(limit, 3),)
    asked = {b"short": (0, ID_LIFETIME), b"less": (1, ID_LIFETIME), b"long": (DAY, DAY)}
    async with processes(any_server.url, 1) as (store,):
        for request_id, (remember_us, _) in asked.items():
            assert not (await store.take(told, request_id, remember_us)).repeated
            assert (await store.take(told, request_id, remember_us)).repeated
    with any_server.client() as client:
        for request_id, (_, lifetime) in asked.items():
            (key,) = client.scan_iter(f"rl1:*:id:{request_id.hex()}")
            assert lifetime - MINUTE < client.pttl(key) * 1000 <= lifetime


async def test_a_fleet_holds_one_set_of_leases(any_server: Server) -> None:
    """Of four processes' callers two hold one; whichever process renews or releases it."""
    limit = leases(2)
    async with processes(any_server.url, 4) as stores:
        names = [f"{process}-{caller}" for process in range(4) for caller in range(25)]
        calls = [stores[int(name[0])].take((acquire(limit, name),)) for name in names]
        granted = [
            name
            for name, taken in zip(names, await asyncio.gather(*calls), strict=True)
            if taken.passed
        ]
        assert len(granted) == 2
        for store in stores:
            taken = await store.take((*(renew(limit, name) for name in granted), peek(limit)))
            assert [each.passes for each in taken.standings] == [True, True, False]
        gone = await asyncio.gather(*(each.take((release(limit, granted[0]),)) for each in stores))
        assert sum(taken.standings[0].before - taken.standings[0].after for taken in gone) == 1
        assert not (await stores[0].take((renew(limit, granted[0]),))).standings[0].passes
        assert (await stores[1].take((acquire(limit, "next"),))).passed


async def test_a_lease_costs_redis_the_same_however_many_are_held(redis_server: Server) -> None:
    """As many commands, of which each looks at a place in a sorted set, and never at all of it."""
    limit = leases(10**6)
    spent = []
    async with processes(redis_server.url, 1) as (store,):
        for first, count in ((0, 10), (10, 10_000)):
            names = (f"{number}" for number in range(first, first + count))
            await asyncio.gather(*(store.take((acquire(limit, name),)) for name in names))
            with redis_server.client() as client:
                client.config_resetstat()
            held = await store.take((renew(limit, "3"), peek(limit)))
            assert held.standings[0].passes
            assert held.standings[1].before >= count
            await store.take((release(limit, "4"),))
            await store.take((acquire(limit, "4"),))
            with redis_server.client() as client:
                stats = client.info("commandstats").items()
            spent.append({name: s["calls"] for name, s in stats if name.startswith("cmdstat_z")})
    assert spent[0] == spent[1]
    assert set(spent[0]) <= {
        f"cmdstat_z{name}" for name in ("add", "card", "range", "rem", "remrangebyscore", "score")
    }


async def test_the_documented_user_may_do_all_of_it(any_server: Server) -> None:
    """And nothing but that: docs/redis.md has the rules, on any engine."""
    text = (Path(__file__).parents[2] / "docs" / "redis.md").read_text()
    rules = text.partition(">PASSWORD ")[2].partition("\n\n")[0].split()
    assert rules[0] == "~rl1:*"
    with any_server.client() as client:
        client.execute_command("ACL", "SETUSER", "ratelimitd", "reset", "on", ">secret", *rules)
    url = any_server.url.replace("redis://", "redis://ratelimitd:secret@")
    try:
        async with processes(url, 1) as (store,):
            for limit in LIMITS:
                await store.take((charge(limit),))
                await store.take((report(limit, 200), refund(limit, 1)), limit.name.encode())
                assert not (await store.take((charge(limit),))).passed
            assert (await store.take((acquire(leases(1), "mine"),))).passed
            newcomer = acquire(leases(1), "other", who="new", bounded=True)
            assert (await store.take((newcomer,))).passed
            kept = (renew(leases(1), "mine"),)
            assert (await store.take(kept)).standings[0].passes
            gone = (newcomer._replace(kind=Kind.RELEASE), release(leases(1), "mine"))
            assert [standing.after for standing in (await store.take(gone)).standings] == [0, 0]
    finally:
        with any_server.client() as client:
            client.execute_command("ACL", "DELUSER", "ratelimitd")


async def test_calls_that_are_not_asked_leave_no_cycles(own_redis: Server) -> None:
    """With an open breaker each call raises: what that leaves behind needs no collector.

    The collector stops everybody, and thousands of calls a second fail in an outage.
    """
    call = (charge(fixed(10**6, MONTHLY)),)
    async with processes(own_redis.url, 1, silence=0.05) as (store,):
        await take_once(store, call)
        with own_redis.paused():
            with pytest.raises(StoreTimeoutError):
                await store.take(call)
            with no_collector():
                for _ in range(1000):
                    with contextlib.suppress(StoreError):
                        await store.take(call)
                assert store.figures()["store_breaker_refused_total"] >= 1000
                assert gc.collect() < 500
