"""What a limiter holds, as cancelled calls go by: memory, descriptors and tasks.

Memory is a slope, because every process grows at first; the others must come back to what they were
once everybody has hung up.
"""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Final

from tests.e2e.support.waiting import wait_until
from tests.robustness.support.callers import Tally, make_calls
from tests.robustness.support.watched import memory

if TYPE_CHECKING:
    from tests.e2e.support.limiter import Limiter

SPARE: Final = 2
"""Descriptors and tasks that may be more than before: the scrape's own connection, and its call."""
SETTLED: Final = 5.0
"""Seconds within which everything that belongs to connections that are closed is gone."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a limiter holds at rest."""

    descriptors: int
    tasks: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Leaks:
    """What calls left behind."""

    tally: Tally
    slope: float
    """KiB of memory that each 100,000 calls added, after the first."""
    descriptors: int
    tasks: int
    """How many more there are than before."""
    decided: int
    """Calls that were decided, by the limiter's own count."""

    @property
    def left(self) -> bool:
        """Whether descriptors or tasks stay behind."""
        return max(self.descriptors, self.tasks) > SPARE


async def held(limiter: Limiter) -> Held:
    """Look at a limiter."""
    descriptors = len(os.listdir(f"/proc/{limiter.process.pid}/fd"))  # noqa: PTH208 - of proc, at once
    return Held(descriptors=descriptors, tasks=int((await limiter.figures())["tasks"]))


def slope(samples: list[tuple[int, int]]) -> float:
    """Return the KiB a 100,000 calls of the line that fits (calls, KiB) best."""
    calls = sum(x for x, _ in samples) / len(samples)
    kib = sum(y for _, y in samples) / len(samples)
    spread = sum((x - calls) ** 2 for x, _ in samples)
    return 1e5 * sum((x - calls) * (y - kib) for x, y in samples) / spread


async def watch(limiter: Limiter, calls: int, first: int) -> Leaks:
    """Make calls, a tenth of which are cancelled; the `first` of them are not looked at."""
    tally = Tally()
    await make_calls(limiter.address, first, tally)
    before = await held(limiter)
    samples = [(tally.calls, memory(limiter.process.pid))]
    for _ in range(10):
        await make_calls(limiter.address, (calls - first) // 10, tally)
        samples.append((tally.calls, memory(limiter.process.pid)))
    after = await _at_rest(limiter, before)
    return Leaks(
        tally=tally,
        slope=slope(samples),
        descriptors=after.descriptors - before.descriptors,
        tasks=after.tasks - before.tasks,
        decided=int((await limiter.figures())["decisions_total"]),
    )


async def _at_rest(limiter: Limiter, before: Held) -> Held:
    """Return what is held once it is hardly more than before, or in the end."""
    found: list[Held] = []

    async def is_back() -> bool:
        found.append(await held(limiter))
        more = found[-1].descriptors - before.descriptors, found[-1].tasks - before.tasks
        return max(more) <= SPARE

    try:
        await wait_until(is_back, description="nothing stays behind", within=SETTLED)
    except AssertionError:
        return found[-1]
    return found[-1]
