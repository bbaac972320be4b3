"""A limiter under watch: its CPU and memory, and the latency of somebody who behaves."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc.aio

from tests.e2e.support.limiter import METHOD
from tests.rpc.support.calls import one

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.e2e.support.limiter import Limiter

POLICY: Final = """\
domain: test
subject: {entry: api_key, default_tier: plain, missing: allow}
meters: {requests: prepaid}
tiers: {plain: {requests: [1000M/hour]}}
"""
QUESTION: Final = one("api_key=a").SerializeToString()
PATIENCE: Final = 10.0
PACE: Final = 0.002
"""Seconds from one call of a bystander to its next: who calls without a pause fills a core."""


def cpu(pid: int) -> float:
    """Return the CPU seconds of a process so far, as the scheduler counts them."""
    spent = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # a thread may end while it is read
            spent += int((task / "schedstat").read_text().split()[0])
    return spent / 1e9


def memory(pid: int) -> int:
    """Return the KiB that a process has in memory."""
    status = Path(f"/proc/{pid}/status").read_text("utf-8")
    return int(status.partition("VmRSS:")[2].split()[0])


def p99(latencies: list[float]) -> float:
    """Return the time that one call in a hundred is over."""
    return sorted(latencies)[int(len(latencies) * 0.99)]


@dataclasses.dataclass(slots=True)
class Bystander:
    """Makes one call after another on a connection of its own."""

    call: Any
    latencies: list[float] = dataclasses.field(default_factory=list)
    failed: list[str] = dataclasses.field(default_factory=list)
    """How calls failed, if any did."""

    @property
    def failures(self) -> int:
        """How many calls failed."""
        return len(self.failed)

    async def run(self) -> None:
        """Call until cancelled."""
        while True:
            began = time.perf_counter()
            try:
                await self.call(QUESTION, timeout=PATIENCE)
            except grpc.aio.AioRpcError as error:
                self.failed.append(f"{error.code().name}: {error.details()}")
                await asyncio.sleep(0.01)
            finally:  # the last call counts too: it may be all that there was
                self.latencies.append(time.perf_counter() - began)
            await asyncio.sleep(max(0.0, began + PACE - time.perf_counter()))

    @contextlib.asynccontextmanager
    async def calling(self) -> AsyncIterator[list[float]]:
        """Call while the block runs; the value has the latencies once it has ended."""
        self.latencies = []
        latencies = self.latencies
        task = asyncio.ensure_future(self.run())
        try:
            yield latencies
        finally:
            task.cancel()
            await asyncio.wait({task})


@contextlib.asynccontextmanager
async def bystander(address: str) -> AsyncIterator[Bystander]:
    """Connect somebody who behaves."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        someone = Bystander(channel.unary_unary(METHOD))
        for _ in range(50):
            await someone.call(QUESTION, timeout=PATIENCE)
        yield someone


@dataclasses.dataclass(slots=True)
class Watch:
    """Measures a block of attack beside one without."""

    limiter: Limiter
    someone: Bystander
    quiet: list[float] = dataclasses.field(default_factory=list)
    beside: list[float] = dataclasses.field(default_factory=list)
    """The bystander's latencies, without the attack and with it."""
    cpu: float = 0.0
    """Seconds that the attack alone cost the limiter."""
    grown: int = 0
    """KiB of its memory."""
    _a_call: float = 0.0

    @contextlib.asynccontextmanager
    async def control(self) -> AsyncIterator[None]:
        """Let the bystander call while the block leaves the limiter alone."""
        before = cpu(self.limiter.process.pid)
        async with self.someone.calling() as self.quiet:
            yield
        self._a_call = (cpu(self.limiter.process.pid) - before) / len(self.quiet)

    @contextlib.asynccontextmanager
    async def attack(self) -> AsyncIterator[None]:
        """Measure the block; what the bystander's own calls cost is left out."""
        pid = self.limiter.process.pid
        memory_before, before = memory(pid), cpu(pid)
        async with self.someone.calling() as self.beside:
            yield
        self.cpu = max(0.0, cpu(pid) - before - len(self.beside) * self._a_call)
        self.grown = memory(pid) - memory_before
