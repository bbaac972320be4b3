"""One run: a seed makes servers, clients, their calls and what goes wrong; the audit follows."""

import asyncio
import gc
import logging
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from unittest import mock

from ratelimitd.stores.redis.counters import RedisCounters
from ratelimitd.stores.redis.link import Link
from ratelimitd.stores.redis.redis_clock import RedisClock
from ratelimitd.stores.redis.script import Script
from ratelimitd.stores.replay import Replay
from tests.simulation.audit import Audit
from tests.simulation.ledger import Ledger
from tests.simulation.loop import VirtualLoop
from tests.simulation.network import FakeServers, Host
from tests.simulation.server import OUT_OF_MEMORY, READ_ONLY, FakeServer
from tests.simulation.traffic import Client
from tests.support.ops import NEW_YEAR

SCRIPT = Script.load()
TIMEOUT = 0.012
BUSY = 0.6
"""Seconds of calls and faults."""
CALM = 3.5
"""Seconds after which all must be well: every connection has been renewed, every debt been paid."""
SECOND = 1_000_000


@dataclass(frozen=True)
class Parts:
    """What a run is made of; a planted bug puts another in place of one."""

    link: type[Link] = Link
    clock: Callable[[Callable[[], int], int], RedisClock] = lambda ns, _: RedisClock(ns)
    replay: type[Replay] = Replay
    sabotage: Callable[[RedisCounters], object] = bool


@dataclass
class Outcome:
    """What came of a run."""

    seed: int
    trace: list[str]
    faults: list[str]
    figures: dict[str, int] = field(default_factory=dict)


class Run:
    """One seed's world."""

    def __init__(self, seed: int, parts: Parts, loop: VirtualLoop) -> None:
        self._rng = random.Random(seed)
        self._loop = loop
        self.ledger = Ledger()
        epoch = NEW_YEAR + self._rng.choice((0, 59)) * SECOND + self._rng.randrange(SECOND)
        skews = [0, 0, self._rng.choice((0, 0, 0, 3_000, 10 * SECOND))]
        self.hosts = [
            Host(FakeServer(f"server {index}", self._elapsed, epoch + skew, SCRIPT), self._rng)
            for index, skew in enumerate(skews[: self._rng.choice((1, 3))])
        ]
        loop.set_exception_handler(self._unheard)
        self.clients = [self._client(number, parts) for number in range(2)]

    def _elapsed(self) -> int:
        return self._loop.now_ns() // 1000

    def _unheard(self, _: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """What reaches the loop's handler is a fault: nobody looks after it."""
        self.ledger.faults.append(f"{context['message']}: {context.get('exception')!r}")

    def _client(self, number: int, parts: Parts) -> Client:
        give_up = self._rng.choice((0.3, 0.3, 5.0))
        links = [parts.link(host.connect, timeout=TIMEOUT, give_up=give_up) for host in self.hosts]
        servers = FakeServers(links, self.hosts)
        clock = parts.clock(self._loop.now_ns, (10 * SECOND if number else 0) + NEW_YEAR)
        counters = RedisCounters(servers, buckets=8, room=10**9, clock=clock, script=SCRIPT)
        self.ledger.watch(number, counters)
        parts.sabotage(counters)
        client = Client(number, counters, self.ledger, self._rng)
        client.replay = parts.replay(client, counters.clock, client.drop)
        return client

    async def live(self) -> None:
        """Begin, suffer, recover, and be asked once more."""
        for client in self.clients:
            await client.counters.start()
        for _ in range(self._rng.randint(0, 8)):
            self._loop.call_at(self._rng.uniform(0.05, BUSY), self._harm, self._rng.choice(HARMS))
        await asyncio.gather(*(client.work(BUSY) for client in self.clients))
        await asyncio.sleep(CALM)
        for host in self.hosts:
            self.heal(host)
        await asyncio.sleep(CALM)
        for client in self.clients:
            self.ledger.faults += await client.try_each()
            self.ledger.faults += self._left(client)
        for client in self.clients:
            await client.end()
            await client.counters.close()
        gc.collect(0)  # a failure that nobody heard of is told when its task is collected
        audit = Audit(self.ledger, [host.server for host in self.hosts])
        self.ledger.faults = list(audit.faults())

    def _left(self, client: Client) -> Iterator[str]:
        figures = client.counters.figures()
        for name in ("store_owed", "store_breaker_state"):
            if figures.get(name):
                yield f"{client.number}: {name} is {figures[name]} at the end"
        if client.replay.waiting:
            yield f"{client.number}: {client.replay.waiting} reports were not replayed"
        if client.counters._owed.lost:
            yield f"{client.number}: gave up on giving back"

    def _harm(self, harm: "Harm") -> None:
        host = self._rng.choice(self.hosts)
        self.ledger.say(f"-- {host.server.name}: {harm.__name__} {harm(self, host)}")

    def during(self, most: float, end: Callable[[], object]) -> float:
        """Have a fault end by itself; return after how long."""
        seconds = self._rng.uniform(0.005, most)
        self._loop.call_later(seconds, end)
        return seconds

    def heal(self, host: Host) -> None:
        """End whatever ails a host."""
        host.refuses, host.slow, host.server.refuses, host.paused_until = False, 0.0, None, 0.0
        host.hang_up()

    def pause(self, host: Host) -> object:
        """Stop the process for a while; what comes meanwhile waits."""
        seconds = self._rng.choice((0.01, 0.1, 0.8))
        host.paused_until = self._loop.time() + seconds
        return seconds

    def blackout(self, _: Host) -> object:
        """Stop everything at once."""
        return [self.pause(host) for host in self.hosts]

    def slow(self, host: Host) -> object:
        """Make every reply late."""
        host.slow = self._rng.choice((0.008, 0.05, 0.2))
        return host.slow, self.during(1.0, lambda: self.heal(host))

    def silence(self, host: Host) -> object:
        """Do everything and tell nobody: acknowledgements are lost."""
        host.silence()
        return ""

    def cut(self, host: Host) -> object:
        """Break the connections."""
        host.cut()
        return ""

    def gone(self, host: Host) -> object:
        """Refuse to be connected to."""
        host.refuses = True
        host.cut()
        return self.during(1.0, lambda: self.heal(host))

    def fail_over(self, host: Host) -> object:
        """Go on with a replica that has not seen everything."""
        host.cut()
        return host.server.fail_over(self._rng.randint(0, 5))

    def flush(self, host: Host) -> object:
        """Forget the script."""
        host.server.flush_scripts()
        return ""

    def step(self, host: Host) -> object:
        """Set the clock, back or ahead."""
        seconds = self._rng.choice((-10, -1, -0.05, 0.05, 10))
        host.server.step(int(seconds * SECOND))
        return seconds

    def refuse(self, host: Host) -> object:
        """Answer with errors."""
        host.server.refuses = self._rng.choice((OUT_OF_MEMORY, READ_ONLY))
        return host.server.refuses, self.during(0.5, lambda: self.heal(host))


Harm = Callable[[Run, Host], object]
HARMS: tuple[Harm, ...] = (
    *(Run.pause, Run.blackout, Run.slow, Run.silence, Run.cut, Run.gone),
    *(Run.fail_over, Run.flush, Run.step, Run.refuse),
)


def simulate(seed: int, parts: Parts | None = None) -> Outcome:
    """Run a seed. Equal seeds of equal code give equal traces."""
    random.seed(seed)  # the link's and the breaker's jitter
    loop = VirtualLoop()
    logging.getLogger("ratelimitd.store").setLevel(logging.CRITICAL)
    try:
        with mock.patch("ratelimitd.clock.monotonic_ns", loop.now_ns):
            run = Run(seed, parts or Parts(), loop)
            loop.run_until_complete(asyncio.wait_for(run.live(), 60))
    finally:
        logging.getLogger("ratelimitd.store").setLevel(logging.NOTSET)
        loop.close()
    figures: dict[str, int] = {}
    for client in run.clients:
        for name, value in client.counters.figures().items():
            figures[name] = figures.get(name, 0) + value
    return Outcome(seed, run.ledger.trace, run.ledger.faults, figures)
