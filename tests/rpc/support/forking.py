"""For a process of its own: calls while it starts processes, and prints the first failure."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import grpc.aio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CALLS = 600
METHOD = "/grpc.health.v1.Health/Check"
PATIENCE = 5.0


def main(loop: Callable[[], asyncio.AbstractEventLoop], address: str) -> None:
    """Print what failed, if anything; ends at once then, whatever else hangs."""
    with asyncio.Runner(loop_factory=loop) as runner:
        try:
            runner.run(run(address))
        except* (grpc.aio.AioRpcError, OSError) as failed:
            print(failed.exceptions, flush=True)
            os._exit(0)


async def run(address: str) -> None:
    """Call with a new connection each time, three at once, and start `true` all the while."""
    left = iter(range(CALLS))
    async with asyncio.TaskGroup() as group:
        callers = [group.create_task(_call(address, left)) for _ in range(3)]
        group.create_task(_start(callers))


async def _call(address: str, left: Iterator[int]) -> None:
    for _ in left:
        async with grpc.aio.insecure_channel(address) as channel:
            check: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
            await check(b"", timeout=PATIENCE)


async def _start(callers: list[asyncio.Task[None]]) -> None:
    while not all(caller.done() for caller in callers):
        process = await asyncio.create_subprocess_exec("true")
        async with asyncio.timeout(PATIENCE):
            if status := await process.wait():
                msg = f"true ended with {status}"
                raise ChildProcessError(msg)
