"""Calls that span the slots of a cluster: never over, and given back where a part denies."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from ratelimitd.stores.redis.opening import open_redis
from tests.support.ops import MONTHLY, charge, fixed
from tests.support.patience import take_once

if TYPE_CHECKING:
    from tests.support.redis.cluster import Cluster

LIMIT = fixed(100, MONTHLY)
SMALL = replace(fixed(30, MONTHLY), name="small", per=("org",))


async def test_what_spans_slots_is_never_over_and_what_was_denied_is_given_back(
    redis_cluster: Cluster,
) -> None:
    """Two processes, two counters of different slots; afterwards the counts are what passed."""
    call = (charge(LIMIT, who="a caller"), charge(SMALL, who="its org"))
    stores = [open_redis(redis_cluster.url, 10.0) for _ in range(2)]
    try:
        for store in stores:
            await store.start()

        async def caller(number: int) -> int:
            return sum([(await stores[number % 2].take(call)).passed for _ in range(10)])

        passed = sum(await asyncio.gather(*(caller(number) for number in range(20))))
        assert passed <= 30
        assert stores[0].figures()["store_spanning_total"] > 0
        async with asyncio.timeout(20):
            while any(store.figures()["store_owed"] for store in stores):
                await take_once(stores[0], (charge(LIMIT, who="somebody else"),))
        used = await stores[0].take((charge(LIMIT, who="a caller"),))
        shared = await stores[0].take((charge(SMALL, who="its org"),))
        assert (used.standings[0].before, shared.standings[0].before) == (passed, passed)
    finally:
        for store in stores:
            await store.close()
