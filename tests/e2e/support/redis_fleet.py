"""Limiters that count in one Redis, each a process of its own, and what they say of themselves."""

from __future__ import annotations

import asyncio
import contextlib
import urllib.request
from typing import TYPE_CHECKING, Final

from tests.e2e.support.limiter import AS_SHIPPED, Limiter, run_limiter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from tests.support.redis.server import Server

PATIENT: Final = "2s"
"""A store timeout that no busy machine reaches while Redis is well."""
AS_IT_IS: Final = 0.0
"""A host whose clock is right."""
_SCRAPED_WITHIN: Final = 20.0


def host(ahead: float) -> str:
    """Return the program of a host whose wall clock is wrong by so many seconds.

    `ratelimitd.clock` is the only place that reads a clock (tests/architecture), so that it is all
    that has to be told a wrong time.
    """
    return (
        "import time; from ratelimitd import clock\n"
        f"clock.time_ns = lambda: time.time_ns() + {int(ahead * 1e9)}\n"
        f"{AS_SHIPPED}"
    )


@contextlib.asynccontextmanager
async def run_fleet(
    store: str,
    policy: str,
    *,
    processes: int = 4,
    silence: str = PATIENT,
    clocks: tuple[float, ...] = (AS_IT_IS,),
) -> AsyncIterator[list[Limiter]]:
    """Run limiters with one policy on one store; their hosts have these clocks in turn."""
    async with contextlib.AsyncExitStack() as stack:

        async def started(ahead: float) -> Limiter:
            program = host(ahead) if ahead else AS_SHIPPED
            flags = ("--store-timeout", silence)
            running = run_limiter(policy, store=store, program=program, flags=flags)
            return await stack.enter_async_context(running)

        async with asyncio.TaskGroup() as group:
            starting = [
                group.create_task(started(clocks[index % len(clocks)]))
                for index in range(processes)
            ]
        yield [each.result() for each in starting]


async def figures(limiter: Limiter) -> dict[str, float]:
    """Return the sums of each metric's series, without `ratelimitd_`, from one scrape."""

    def scrape() -> str:
        where = f"http://{limiter.admin}/metrics"
        with urllib.request.urlopen(where, timeout=_SCRAPED_WITHIN) as answer:
            text: str = answer.read().decode()
            return text

    sums: dict[str, float] = {}
    for line in (await asyncio.to_thread(scrape)).splitlines():
        if not line.startswith("#"):
            series, _, value = line.rpartition(" ")
            name = series.partition("{")[0].removeprefix("ratelimitd_")
            sums[name] = sums.get(name, 0) + float(value)
    return sums


async def total(limiters: Iterable[Limiter], name: str) -> float:
    """Return the sum of a metric over all processes; 0 for one that none has counted yet."""
    return sum([(await figures(limiter)).get(name, 0) for limiter in limiters])


def counters(*servers: Server) -> dict[str, int]:
    """Return every plain counter that is kept on some servers: what was used, by its key."""
    found = {}
    for server in servers:
        with server.client() as client:
            for key in client.scan_iter("rl1:*"):
                if client.type(key) == b"string" and b":~" not in key and b":id:" not in key:
                    found[key.decode()] = int(client.get(key).split()[0])
    return found
