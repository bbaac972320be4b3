"""What durability costs: the file store against the memory store, in one run.

    python -m bench.file_store

Prints the price on the hot path (ratio of alternating rounds), the longest stall of the event loop
while 200,000 changed counters are written, the time to start on 1,000,000 counters, and bytes per
counter on disk and in memory.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter, thread_time
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from bench import machine
from bench.memory_per_subject import LIMITS, NOW, operations, rss
from ratelimitd.clock import ManualClock
from ratelimitd.stores.file import FileCounters
from ratelimitd.stores.memory.counters import MemoryCounters

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from ratelimitd.model import Op
    from ratelimitd.stores.ports import Counters

T = TypeVar("T")
ROUNDS = 7
CALLS = 100_000
CALLERS = 10_000
BETWEEN_TURNS = 50
"""Decisions in one turn of the event loop, about as many as a busy server makes."""
NEVER = 3600.0
CHANGED = 200_000
AT_REST = 1_000_000


class Stall(NamedTuple):
    """How the event loop fared, milliseconds."""

    longest: float
    p99: float
    busiest: float
    """The most CPU time in one turn: what is our own doing, however busy the machine."""
    lasted: float

    def __str__(self) -> str:
        return (
            f"longest stall {self.longest:.1f} ms (CPU {self.busiest:.1f}), p99 {self.p99:.2f} ms, "
            f"done in {self.lasted:.0f} ms"
        )


def callers(count: int, seed: int = 1) -> list[list[Op]]:
    """Return one call for each of that many subjects."""
    random = Random(seed)
    return [operations(random.randbytes(16), 1) for _ in range(count)]


async def decide(counters: Counters, calls: Sequence[list[Op]], times: int) -> float:
    """Return microseconds of CPU a call, of the loop's thread, the loop turning now and then."""
    began = thread_time()
    done = 0
    while done < times:
        for ops in calls[done % len(calls) :][:BETWEEN_TURNS]:
            await counters.take(ops)
        done += BETWEEN_TURNS
        await asyncio.sleep(0)
    return (thread_time() - began) / times * 1e6


async def hot_path(folder: Path) -> None:
    """Print what a decision costs more."""
    calls, clock = callers(CALLERS), ManualClock(NOW)
    stores: dict[str, Counters] = {"memory": MemoryCounters(clock)}
    for name, interval in (("noting changes", NEVER), ("writing them", 0.5)):
        file = FileCounters(folder / f"{name}.db", clock, interval=interval)
        await file.start()
        stores[name] = file
    costs: dict[str, list[float]] = {name: [] for name in stores}
    for _ in range(ROUNDS):
        for name, store in stores.items():
            costs[name].append(await decide(store, calls, CALLS))
    for store in stores.values():
        await store.close()
    for name in ("noting changes", "writing them"):
        ratio = median(
            ours / plain for ours, plain in zip(costs[name], costs["memory"], strict=True)
        )
        print(
            f"CPU of a call on {len(LIMITS)} limits, {name}: {median(costs[name]):.2f} µs, "
            f"memory {median(costs['memory']):.2f} µs, ratio {ratio:.3f}"
        )


async def heartbeat(until: asyncio.Task[bool], work: Sequence[list[Op]], store: Counters) -> Stall:
    """Turn the event loop, with work for it or without, until something is done."""
    gaps, spent, turn = [], [], 0
    began = last = perf_counter()
    before = thread_time()
    while not until.done():
        for ops in work[turn * BETWEEN_TURNS % (len(work) or 1) :][:BETWEEN_TURNS]:
            await store.take(ops)
        turn += 1
        await asyncio.sleep(0)
        now, cpu = perf_counter(), thread_time()
        gaps.append((now - last) * 1e3)
        spent.append((cpu - before) * 1e3)
        last, before = now, cpu
    gaps.sort()
    return Stall(gaps[-1], gaps[len(gaps) * 99 // 100], max(spent), (last - began) * 1e3)


async def stalls(folder: Path) -> None:
    """Print how the loop fares while many counters are written, idle or deciding."""
    store = FileCounters(folder / "stalls.db", ManualClock(NOW), interval=NEVER)
    await store.start()
    calls = callers(CHANGED // len(LIMITS))
    own = MemoryCounters(ManualClock(NOW))
    for name, work in (("idle", []), ("deciding", callers(CALLERS, seed=2))):
        for round_ in ("new", "again"):
            for ops in calls:
                await store.take(ops)
            gc.freeze()  # the calls of the benchmark are no garbage of the store's
            changed = store.unwritten
            stall = await heartbeat(asyncio.create_task(store.flush()), work, own)
            print(f"{changed:,} counters written ({round_}), loop {name}: {stall}")

    async def nothing() -> bool:
        await asyncio.sleep(1.0)
        return True

    stall = await heartbeat(asyncio.create_task(nothing()), callers(CALLERS, seed=2), own)
    print(f"nothing written, loop deciding: {stall}")
    await store.close()


async def put_at_rest(path: Path) -> int:
    """Make a file of many counters; return how many."""
    store = FileCounters(path, ManualClock(NOW), interval=NEVER)
    await store.start()
    for ops in callers(AT_REST // len(LIMITS)):
        await store.take(ops)
    counters = store.unwritten
    await store.close()
    return counters


async def time_start(path: Path) -> tuple[float, int]:
    """Return seconds and bytes of RSS that a start takes."""
    before, began = rss(), perf_counter()
    store = FileCounters(path, ManualClock(NOW))
    await store.start()
    seconds, used = perf_counter() - began, rss() - before
    await store.close()
    return seconds, used


def in_fresh_process(work: Callable[[Path], Coroutine[Any, Any, T]], path: Path) -> T:
    """Run work where no other work has left memory behind."""
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=fresh) as process:
        return process.submit(_run, work, path).result()


def _run(work: Callable[[Path], Coroutine[Any, Any, T]], path: Path) -> T:
    return asyncio.run(work(path))


def restart(folder: Path) -> None:
    """Print how long a start takes, and what a counter takes."""
    path = folder / "restart.db"
    counters = in_fresh_process(put_at_rest, path)
    size = path.stat().st_size
    seconds, used = in_fresh_process(time_start, path)
    print(
        f"start on {counters:,} counters: {seconds:.2f} s; {size / counters:.0f} bytes each on "
        f"disk, {used / counters:.0f} in memory"
    )


def main() -> None:
    """Measure and print."""
    print(machine.describe())
    with tempfile.TemporaryDirectory() as folder:
        for part in (hot_path, stalls):
            asyncio.run(part(Path(folder)))
        restart(Path(folder))


if __name__ == "__main__":
    main()
