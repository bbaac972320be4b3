"""What a million subjects with three fixed-window limits each cost in the memory store: RSS apiece.

Keys are 16 bytes, as subjects are; every counter is used. It is counted in a process of its own,
whose RSS is read before and after.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from random import Random
from time import perf_counter
from typing import TYPE_CHECKING

from ratelimitd.clock import ManualClock
from ratelimitd.keys import family
from ratelimitd.model import Counter, Kind, Limit, Meter, MeterKind, Op, Unit, Window
from ratelimitd.stores.memory.counters import MemoryCounters

if TYPE_CHECKING:
    from ratelimitd.stores.ports import Counters

SUBJECTS = 1_000_000
PROMISED = 1024
"""Bytes apiece."""
NOW = 1_700_000_000_000_000
REQUESTS = Meter(name="requests", kind=MeterKind.PREPAID)
LIMITS = tuple(
    Limit(name=f"requests/{unit.value}", meter=REQUESTS, amount=10**6, window=Window.of(unit))
    for unit in (Unit.HOUR, Unit.MINUTE, Unit.DAY)
)
FAMILIES = tuple((family("bench", limit), limit) for limit in LIMITS)


def rss() -> int:
    """Return this process's resident bytes."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * resource.getpagesize()


def operations(key: bytes, hits: int) -> list[Op]:
    """Return the charges of one call: three windows of one subject."""
    return [
        Op(Kind.CHARGE, Counter(name, key, bounded=False), limit, hits) for name, limit in FAMILIES
    ]


async def fill(counters: Counters, subjects: int) -> None:
    """Use every counter of that many subjects, each by a number of hits of its own."""
    random = Random(1)
    # Over 256, so that no count is one of the interpreter's shared small integers.
    for index in range(subjects):
        await counters.take(operations(random.randbytes(16), 1000 + index % 1000))


def measure(subjects: int) -> tuple[float, float, float]:
    """Return bytes of RSS a subject, the same at the peak, and seconds to fill."""
    counters = MemoryCounters(ManualClock(NOW))
    asyncio.run(fill(counters, 1))
    before, began = rss(), perf_counter()
    asyncio.run(fill(counters, subjects))
    seconds = perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return (rss() - before) / subjects, (peak - before) / subjects, seconds


def main() -> None:
    """Print the figure."""
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=fresh) as process:
        apiece, peak, seconds = process.submit(measure, SUBJECTS).result()
    verdict = "kept" if apiece <= PROMISED else "BROKEN"
    print(
        f"memory store, {SUBJECTS:,} subjects × {len(LIMITS)} limits, filled in {seconds:.1f} s: "
        f"{apiece:,.0f} bytes of RSS a subject ({peak:,.0f} at the peak); "
        f"at most {PROMISED} promised: {verdict}"
    )


if __name__ == "__main__":
    main()
