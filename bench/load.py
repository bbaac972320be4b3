"""Load on a running server, and what it cost: h2load where installed, else a grpcio client.

h2load (nghttp2) is several times as fast as any Python server; the grpcio client is not, so with it
rates and latencies are the client's, and only the server's CPU per decision is comparable.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import grpc.aio

from bench import request
from ratelimitd._gen.envoy.service.ratelimit.v3 import rls_pb2_grpc

if TYPE_CHECKING:
    from bench.servers import Running

CONNECTIONS = 2
STREAMS = 50


class Cost(NamedTuple):
    """One round on one server."""

    rate: float
    """Decisions a second."""
    cpu_us: float
    """Server CPU per decision, user and system, microseconds."""
    p50: float
    p99: float
    p999: float
    """Latencies in milliseconds, at that load."""


def generator() -> str:
    """Return which generator is used."""
    return "h2load" if shutil.which("h2load") else "grpcio client (the bottleneck)"


def measure(server: Running, calls: int) -> Cost:
    """Make a bounded number of calls and say what they cost.

    gRPC errors travel as HTTP 200, which h2load takes for success: one call with a real client
    before and one after make sure that decisions are what is measured.
    """
    request.verify(server.target)
    drive = _h2load if shutil.which("h2load") else _grpcio
    drive(server.target, calls // 10)
    before = server.cpu_seconds()
    began = time.perf_counter()
    latencies = sorted(drive(server.target, calls))
    took = time.perf_counter() - began
    cpu = server.cpu_seconds() - before
    request.verify(server.target)
    if len(latencies) < calls:
        msg = f"only {len(latencies)} of {calls} calls were answered"
        raise RuntimeError(msg)
    p50, p99, p999 = (latencies[int(len(latencies) * part)] for part in (0.5, 0.99, 0.999))
    return Cost(calls / took, cpu / calls * 1e6, p50 / 1e3, p99 / 1e3, p999 / 1e3)


def _h2load(target: str, calls: int) -> list[int]:
    """Return the latencies of answered calls, microseconds."""
    with tempfile.TemporaryDirectory() as folder:
        body, log = Path(folder, "request"), Path(folder, "log")
        body.write_bytes(request.frame())
        command = ["h2load", "-n", str(calls), "-c", str(CONNECTIONS), "-m", str(STREAMS)]
        command += ["-d", str(body), f"--log-file={log}", "-T", "60"]
        command += ["-H", "content-type: application/grpc", "-H", "te: trailers"]
        command.append(f"http://{target}{request.PATH}")
        subprocess.run(command, check=True, capture_output=True, timeout=300)
        rows = [line.split("\t") for line in log.read_text().splitlines()]
        return [int(row[2]) for row in rows if row[1] == "200"]


def _grpcio(target: str, calls: int) -> list[int]:
    return asyncio.run(_grpcio_calls(target, calls))


async def _grpcio_calls(target: str, calls: int) -> list[int]:
    latencies: list[int] = []
    left = iter(range(calls))
    async with grpc.aio.insecure_channel(target) as channel:
        stub = rls_pb2_grpc.RateLimitServiceStub(channel)

        async def caller() -> None:
            for _ in left:
                began = time.perf_counter_ns()
                await stub.ShouldRateLimit(request.message(), timeout=10)
                latencies.append((time.perf_counter_ns() - began) // 1000)

        await asyncio.gather(*(caller() for _ in range(CONNECTIONS * STREAMS)))
    return latencies
