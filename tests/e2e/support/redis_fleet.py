"""Limiters that count in one Redis, each a process of its own, and what they say of themselves."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from tests.e2e.support.limiter import AS_SHIPPED, Limiter, run_limiter
from tests.e2e.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from tests.support.redis.server import Server

PATIENT: Final = "2s"
"""A store timeout that no busy machine reaches while Redis is well."""
AS_SHIPPED_SILENCE: Final = "12ms"
"""The store timeout that operators have who set none."""
UP_WITHIN: Final = 20.0
AS_IT_IS: Final = 0.0
"""A host whose clock is right."""


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


async def total(limiters: Iterable[Limiter], name: str) -> float:
    """Return the sum of a metric over all processes; 0 for one that none has counted yet."""
    return sum([(await limiter.figures()).get(name, 0) for limiter in limiters])


async def are_up(*limiters: Limiter) -> bool:
    """Say whether all of them say that their store answers."""
    return all([(await limiter.figures())["store_up"] for limiter in limiters])


async def until_up(*limiters: Limiter) -> None:
    """Wait until they do."""
    await wait_until(lambda: are_up(*limiters), description="the store answers", within=UP_WITHIN)


def counters(*servers: Server) -> dict[str, int]:
    """Return every plain counter that is kept on some servers: what was used, by its key."""
    found = {}
    for server in servers:
        with server.client() as client:
            for key in client.scan_iter("rl1:*"):
                if client.type(key) == b"string" and b":~" not in key and b":id:" not in key:
                    found[key.decode()] = int(client.get(key).split()[0])
    return found
