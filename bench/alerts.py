"""What alerts cost a decision that reaches no threshold anew: in process, bytes in to bytes out.

`python -m bench.alerts` runs these rows alone. What an event costs, and its delivery, is not here,
since it is no decision's (docs/alerts.md).
"""

from __future__ import annotations

import asyncio
import tempfile
import time
import timeit
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

import yaml
from rich.console import Console
from rich.table import Table

from bench import in_process, request
from ratelimitd.accounts.alerting import Wish
from ratelimitd.app import Service
from ratelimitd.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

OTHER: Final = "another"
MUCH: Final = 20_000_000
"""Requests: a hundredth of the day's limit."""
ROWS: Final = {
    "nobody has alerts": ("", 0),
    "another key has one": (OTHER, 1),
    "the key has one, not reached": (request.KEY, 100),
    "the key has one, told already": (request.KEY, 1),
}
"""Whose alert there is, and at how much."""
ROUNDS: Final = 7
_SETTLED = 0.3
_CALLS, _TRIES = 2_000, 10
_NOWHERE = "http://127.0.0.1:1/"


def policy(folder: Path) -> Path:
    """Write the measured policy with two keys of its tier."""
    plain = yaml.safe_load((Path(__file__).with_name("policy.yaml")).read_text("utf-8"))
    plain["keys"] = [{"key": key, "tier": "bench"} for key in (request.KEY, OTHER)]
    path = folder / "policy.yaml"
    path.write_text(yaml.safe_dump(plain), "utf-8")
    return path


async def limiters(settings: Settings) -> dict[str, Service]:
    """Return a limiter for each row, in which all has settled that its first decisions set off."""
    found = {}
    for name, (key, threshold) in ROWS.items():
        service = found[name] = Service(settings)
        await service.prepare()
        if threshold:
            wish = Wish("rate_limit", threshold, _NOWHERE, "requests/day")
            await service.notifier.alerting.create((service.hasher.key(key),), wish)
        much = request.message()
        much.hits_addend = MUCH
        in_process.decide_with(service)(much.SerializeToString())
    await asyncio.sleep(_SETTLED)
    return found


async def measure() -> dict[str, list[float]]:
    """Return the microseconds of a decision in alternating rounds, by row."""
    wire = request.message().SerializeToString()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(policy=policy(Path(folder)), allow_private_webhooks=True)
        services = await limiters(settings)
        found: dict[str, list[float]] = {name: [] for name in services}
        for _ in range(ROUNDS):
            for name, service in services.items():
                found[name].append(cost(partial(in_process.decide_with(service), wire)))
        for service in services.values():
            await service.stop(grace=0)
    return found


def cost(work: Callable[[], object]) -> float:
    """Return the CPU of one call, microseconds, the best of some tries."""
    tries = timeit.repeat(work, timer=time.thread_time, number=_CALLS, repeat=_TRIES)
    return min(tries) / _CALLS * 1e6


def main() -> None:
    """Measure and print."""
    found = asyncio.run(measure())
    table = Table("in process, memory", "CPU µs a decision", "more")
    plain = found[next(iter(ROWS))]
    for name, costs in found.items():
        more = median(ours - theirs for ours, theirs in zip(costs, plain, strict=True))
        table.add_row(name, f"{median(costs):.2f}", f"{more:.2f}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
