"""Load made by grpcio in this process, where h2load is not installed.

It costs several times what a decision costs the limiter, so what it measures is mostly itself; but
it reads every gRPC status.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from ratelimitd.cli._client import OPTIONS, TIMEOUT, grpc_target
from ratelimitd.cli.bench.figures import Measured

if TYPE_CHECKING:
    from ratelimitd.cli.bench.figures import Load
    from ratelimitd.settings import Address

NAME = "grpcio"


class _Run:
    def __init__(self, load: Load, message: bytes) -> None:
        self.load = load
        self.message = message
        self.left = load.requests
        self.end = time.monotonic() + (load.seconds or float("inf"))
        self.latencies = array("Q")
        self.not_ok = 0

    async def stream(self, call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]) -> None:
        """Make one call after the other until the load's end."""
        while self._goes_on():
            start = time.perf_counter_ns()
            try:
                await call(self.message, timeout=TIMEOUT)
            except grpc.aio.AioRpcError:
                self.not_ok += 1
                # An error may come at once: without this, a limiter that went away is hammered.
                await asyncio.sleep(0.01)
            else:
                self.latencies.append((time.perf_counter_ns() - start) // 1000)

    def _goes_on(self) -> bool:
        if not self.load.requests:
            return time.monotonic() < self.end
        self.left -= 1
        return self.left >= 0


async def run(target: Address, path: str, message: bytes, load: Load) -> Measured:
    """Send a message over and over."""
    channels = [
        grpc.aio.insecure_channel(grpc_target(target), options=OPTIONS)
        for _ in range(load.connections)
    ]
    running = _Run(load, message)
    start = time.monotonic()
    try:
        async with asyncio.TaskGroup() as tasks:
            for channel in channels:
                call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
                for _ in range(load.streams):
                    tasks.create_task(running.stream(call))
    finally:
        for channel in channels:
            await channel.close()
    return Measured(
        generator=NAME,
        seconds=time.monotonic() - start,
        decisions=len(running.latencies),
        not_ok=running.not_ok,
        latencies=sorted(running.latencies),
    )
