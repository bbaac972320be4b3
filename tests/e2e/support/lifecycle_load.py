"""Requests at random through a real Envoy that is asked to do everything wrong, by a seed.

Normal ends, clients that leave, an API that fails or breaks off, a limiter that is 15 to 25 ms away
and now and then further than Envoy waits, denials by another limit, releases sent twice and long
after, and an Envoy that is killed. How it went is told by `lifecycle` from Envoy's access log.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

import grpc.aio

from ratelimitd.devkit.stub_api import serve_stub_api
from tests.e2e.support.counting import PATIENT, left
from tests.e2e.support.lifecycle import Request, deepest
from tests.e2e.support.lifecycle_site import PATIENCE, Site
from tests.e2e.support.limiter import AS_SHIPPED, Limiter, run_limiter
from tests.e2e.support.raw_http import begin
from tests.e2e.support.waiting import wait_until
from tests.rpc.support.calls import Client, one
from tests.support.redis.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from ratelimitd._gen.envoy.service.ratelimit.v3.rls_pb2 import RateLimitRequest

LEASE: Final = 2
AT_ONCE: Final = 2
KEYS: Final = 32
POOR: Final = [f"k{number}" for number in range(24, KEYS)]
"""Keys that another limit denies more often."""
CALLERS: Final = 40
POLICY: Final = f"""
domain: agent-api
subject: {{entry: api_key, scheme: bearer, default_tier: free}}
meters: {{concurrent: {{lease: {LEASE}s}}}}
tiers:
  free: {{requests: 50/second, concurrent: {AT_ONCE}}}
  poor: {{requests: 1/second, concurrent: {AT_ONCE}}}
keys: [{", ".join(f"{{key: {key}, tier: poor}}" for key in POOR)}]
"""
HOP: Final = (0.0075, 0.0125)
"""Seconds that a byte takes between Envoy and the limiter, each way."""
STALL: Final = PATIENCE * 1.2
"""Seconds that an answer takes now and then: longer than Envoy waits."""
PAUSE: Final = 0.05
"""Seconds that a client waits before its next request, at the most."""
ENDS_WITHIN: Final = 20.0
_KINDS: Final = {
    "invoke?sleep={short}": 40,
    "stream?events=3&gap={step}": 15,
    "invoke?sleep={short}&status=503": 10,
    "invoke?sleep={short}&reset=1": 10,
    "invoke?sleep={long}": 1,
}
_LEAVING: Final = 0.2
"""The share of clients that go away before the end."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Lives:
    """How it went."""

    requests: list[Request]
    """Those that Envoy logged; what one had under way when it was killed is in no log."""
    replayed: int
    """Releases that were sent again, long after."""
    emptied: float
    """Seconds from the last end until nobody held anything."""

    @property
    def deepest(self) -> int:
        """How many requests of one key were at the API at the same time, at the most."""
        return max(deepest(self.requests, LEASE).values(), default=0)

    @property
    def ends(self) -> Counter[str]:
        """How often each kind of end came."""
        return Counter(_end(request) for request in self.requests)


def _end(request: Request) -> str:
    if request.status == 429:
        return "denied: requests" if request.limit in ("1", "50") else "denied: concurrent"
    if request.sent is None:
        return "unanswered" if request.status else "left before"
    return str(request.status) if request.status else "left"


async def live(
    seed: int,
    requests: int,
    folder: Path,
    *,
    transport: str = "h2corn",
    store: str = "memory",
    keys: int = KEYS,
    policy: str = POLICY,
    program: str = AS_SHIPPED,
) -> Lives:
    """Make so many requests; the seed chooses what each does and how slow the wire is.

    With fewer keys there is more that can go wrong with each.
    """
    async with (
        serve_stub_api() as api,
        run_limiter(
            policy, transport=transport, store=store, program=program, flags=PATIENT
        ) as limiter,
        Proxy(limiter.address) as wire,
        contextlib.AsyncExitStack() as stack,
    ):
        site = Site(api, wire, folder)
        stack.push_async_callback(site.close)
        await site.open()
        async with _meanwhile(_wobble(wire, seed)), _replaying(site, limiter, seed) as replayed:
            await _callers(site, seed, requests, keys)
        wire.delay_requests = wire.delay_replies = 0.0
        await site.all_logged()
        began = time.monotonic()
        await wait_until(lambda: _idle(limiter), description="idle", within=LEASE + ENDS_WITHIN)
        return Lives(
            requests=list(site.requests()),
            replayed=replayed.total(),
            emptied=time.monotonic() - began,
        )


async def _idle(limiter: Limiter) -> bool:
    for number in range(KEYS):
        if await left(limiter, "concurrent", f"k{number}") < AT_ONCE:
            return False
    return True


async def _callers(site: Site, seed: int, requests: int, keys: int) -> None:
    numbers = iter(range(requests))
    killing = requests // 2

    async def caller() -> None:
        for number in numbers:
            if number == killing:
                await site.kill()
            dice = random.Random(f"{seed} {number}")
            await _one(site, dice, f"k{dice.randrange(keys)}")
            await asyncio.sleep(dice.uniform(0, PAUSE))

    async with asyncio.TaskGroup() as group:
        for _ in range(CALLERS):
            group.create_task(caller())


async def _one(site: Site, dice: random.Random, key: str) -> None:
    """Make one request; what becomes of it stands in Envoy's log."""
    await wait_until(lambda: site.envoy is not None, description="an Envoy", within=ENDS_WITHIN)
    assert site.envoy
    (kind,) = dice.choices(list(_KINDS), list(_KINDS.values()))
    short, step = dice.uniform(0, 0.08), dice.uniform(0, 0.02)
    target = kind.format(short=short, step=step, long=LEASE + 0.5)
    leaving = dice.uniform(0, 0.1) if dice.random() < _LEAVING else ENDS_WITHIN
    headers = (f"x-api-key: {key}", "connection: close")
    with contextlib.suppress(OSError, TimeoutError):
        reader, writer = await begin(site.envoy.edge, f"/v1/agents/a1/{target}", *headers)
        try:
            async with asyncio.timeout(leaving):
                await reader.read()
        finally:
            writer.transport.abort()


@contextlib.asynccontextmanager
async def _meanwhile(work: AsyncIterator[None]) -> AsyncIterator[None]:
    """Go on with the work, step by step, while the block runs."""

    async def steps() -> None:
        async for _ in work:
            await asyncio.sleep(0.005)

    task = asyncio.create_task(steps())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _wobble(wire: Proxy, seed: int) -> AsyncIterator[None]:
    """Change how far the limiter is away; now and then an answer is too late."""
    dice = random.Random(f"{seed} wire")
    while True:
        wire.delay_requests = dice.uniform(*HOP)
        wire.delay_replies = STALL if dice.random() < 0.015 else dice.uniform(*HOP)
        yield


@contextlib.asynccontextmanager
async def _replaying(site: Site, limiter: Limiter, seed: int) -> AsyncIterator[Counter[str]]:
    """Give back leases again that were given back before, while the block runs."""
    replayed: Counter[str] = Counter()
    dice = random.Random(f"{seed} replay")
    async with grpc.aio.insecure_channel(limiter.address) as channel:
        client = Client(channel)

        async def replays() -> AsyncIterator[None]:
            while True:
                yield
                used = [request for request in site.requests() if request.lease]
                for request in dice.sample(used, min(20, len(used))):
                    await client.ask(_release(request))
                    replayed[request.lease] += 1

        async with _meanwhile(replays()):
            yield replayed


def _release(request: Request) -> RateLimitRequest:
    who = (f"api_key={request.key}", "route=invoke", "meter=concurrent", "phase=done")
    return one(*who, f"lease={request.lease}", hits=1, negative=True, domain="agent-api")
