"""How long decisions take while a large policy is read again beside them.

`python -m bench.reload [KEYS]`. One caller asks every millisecond, first in quiet, then while the
policy is reloaded; latencies are of the decision in process, waits for the event loop included.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from time import perf_counter_ns

import uvloop

from bench import machine
from bench.policy_load import KEYS, written
from ratelimitd.app import Service
from ratelimitd.model import Descriptor, Question
from ratelimitd.settings import Settings

_EVERY = 0.001
_QUESTION = Question("bench", (Descriptor(entries=(("api_key", "sk-new"), ("route", "r1"))),))


async def asking(service: Service, until: asyncio.Event, latencies: list[int]) -> None:
    """Ask at the times a steady caller would, and note how late each answer is, microseconds."""
    due = perf_counter_ns()
    while not until.is_set():
        due += int(_EVERY * 1e9)
        await asyncio.sleep(max(0.0, (due - perf_counter_ns()) / 1e9))
        await service.limiter.decide(_QUESTION)
        latencies.append((perf_counter_ns() - due) // 1000)


async def measure(keys: int) -> None:
    """Print the latencies of both phases."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "policy.yaml"
        path.write_text(written(keys), "utf-8")
        service = Service(Settings(policy=path))
        await service.prepare()
        for name, busy in (("quiet", asyncio.sleep(3)), ("reloading", service.reload())):
            over, latencies = asyncio.Event(), list[int]()
            caller = asyncio.ensure_future(asking(service, over, latencies))
            began = perf_counter_ns()
            await busy
            took = (perf_counter_ns() - began) / 1e9
            over.set()
            await caller
            latencies.sort()
            p50, p99, p999 = (latencies[int(len(latencies) * part)] for part in (0.5, 0.99, 0.999))
            print(
                f"{name:>9} {took:.1f} s: {len(latencies):,} decisions, late by {p50} µs p50, "
                f"{p99} µs p99, {p999} µs p99.9, {latencies[-1]} µs at most"
            )


def main() -> None:
    """Measure and print."""
    keys = int(sys.argv[1]) if len(sys.argv) > 1 else KEYS
    print(machine.describe())
    uvloop.run(measure(keys))


if __name__ == "__main__":
    main()
