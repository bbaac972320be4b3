"""Processes that know different times of one server: what one has counted holds for the other."""

import asyncio
from pathlib import Path

from ratelimitd.clock import ManualClock
from ratelimitd.stores.redis.opening import open_redis
from tests.support.ops import MINUTELY, NEW_YEAR, S, bucket, charge, fixed
from tests.support.redis.server import Server
from tests.support.stores import redis_opener

POUR = bucket(4, burst=4)


def test_a_bucket_does_not_drain_twice_for_a_process_that_is_ahead(
    any_server: Server, tmp_path: Path
) -> None:
    """A process behind in time leaves a bucket's instant where one ahead has put it.

    Seed 89 of the simulation: a cluster whose servers' clocks differ, of which one process had met
    the one ahead. The other's charge set the instant back, and the whole burst passed anew.
    """

    async def tell() -> list[bool]:
        open_store = redis_opener(any_server.url)
        ahead = await open_store(ManualClock(NEW_YEAR + 10 * S), 1000, tmp_path)
        behind = await open_store(ManualClock(NEW_YEAR), 1000, tmp_path)
        passed = [(await ahead.take([charge(POUR, 3)])).passed]
        passed.append((await behind.take([charge(POUR)])).passed)
        passed.append((await ahead.take([charge(POUR)])).passed)
        await ahead.close()
        await behind.close()
        return passed

    assert asyncio.run(tell()) == [True, True, False]


async def test_a_clock_that_is_set_right_again_takes_no_counter_along(any_server: Server) -> None:
    """Who is ahead of a clock that was set back still finds what was counted once it is set right.

    Keys end at an instant, so the server's own clock may come back to where we are: no counter of
    a window that goes on has ended by then.
    """
    call = (charge(fixed(3, MINUTELY), 3),)
    store = open_redis(any_server.url, 10.0)
    await store.start()
    try:
        ahead = store.clock() + 3_600 * S
        store.clock.observe(ahead)
        assert (await store.take(call)).passed
        with any_server.client() as client:
            (key,) = client.scan_iter("rl1:*")
            ends = int(client.execute_command("PTTL", key)) * 1000 + store.clock() - 3_600 * S
        assert ends >= MINUTELY.span(ahead).end - S
        assert not (await store.take(call)).passed
    finally:
        await store.close()
