"""What the simulation has found, each by itself."""

import asyncio
import gc
import random

from ratelimitd.stores.redis.counters import RedisCounters
from ratelimitd.stores.redis.link import Link
from ratelimitd.stores.stacking import stacked
from tests.simulation.loop import VirtualLoop
from tests.simulation.network import FakeServers, Host
from tests.simulation.run import SCRIPT
from tests.simulation.server import FakeServer
from tests.support.ops import MINUTELY, NEW_YEAR, charge, fixed


def test_a_spanning_call_that_nobody_waits_for_may_fail_in_silence() -> None:
    """Its caller has gone, then its servers: no "exception was never retrieved" in the log."""
    loop = VirtualLoop()
    complaints: list[str] = []
    loop.set_exception_handler(lambda _, context: complaints.append(str(context["message"])))

    async def tell() -> None:
        servers = [
            FakeServer(name, lambda: loop.now_ns() // 1000, NEW_YEAR, SCRIPT) for name in "abc"
        ]
        hosts = [Host(server, random.Random(1)) for server in servers]
        links = [Link(host.connect, timeout=0.5) for host in hosts]
        counters = RedisCounters(FakeServers(links, hosts), script=SCRIPT)
        await counters.start()
        call = stacked([charge(fixed(3, MINUTELY), who=who) for who in ("ada", "bob", "cyd")])
        task = loop.create_task(counters.take(call))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        for host in hosts:
            host.cut()
        await asyncio.sleep(1)
        await counters.close()

    loop.run_until_complete(tell())
    loop.close()
    gc.collect()
    assert complaints == []
