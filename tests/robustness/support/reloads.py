"""A policy of 10,000 rules that is read again under load, while the log is rotated."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import shutil
import signal
from typing import TYPE_CHECKING, Final

from tests.e2e.support.limiter import run_limiter
from tests.e2e.support.waiting import wait_until
from tests.robustness.support.watched import Bystander, bystander

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.support.limiter import Limiter

TIERS: Final = 1_000
RULES: Final = 10
MAX, P999 = "loop_lag_max_seconds", "loop_lag_p999_seconds"
WITHIN: Final = 60.0
"""Seconds for one reload on a machine that has other things to do."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """Seconds: what callers waited, and what the limiter says of its event loop."""

    calls: int
    quiet: float
    """The longest of as many calls before."""
    longest: float
    p999: float
    loop_max: float
    loop_p999: float
    failures: object
    """Of the caller; false where there were none."""


def written() -> str:
    """Return a policy with ten thousand rules."""
    lines = ["domain: test", "subject: {entry: api_key, default_tier: t0}", "tiers:"]
    for tier in range(TIERS):
        lines += [f"  t{tier}:", "    limits:"]
        lines += [
            f"      - {{meter: requests, rate: 9M/hour, when: {{route: r{rule}}}, name: n{rule}}}"
            for rule in range(RULES)
        ]
    return "\n".join((*lines, ""))


async def reloads(transport: str, program: str, times: int) -> Lag:
    """Reload a number of times beside a caller; each time the log is rotated as well."""
    async with (
        run_limiter(written(), transport=transport, program=program) as limiter,
        bystander(limiter.address) as someone,
    ):
        await _calls(someone, 500)
        quiet = max(someone.latencies)
        async with someone.calling() as latencies:
            for number in range(1, times + 1):
                await _reload(limiter, number)
        lag = await limiter.figures()
        latencies.sort()
        return Lag(
            calls=len(latencies),
            quiet=quiet,
            longest=latencies[-1],
            p999=latencies[int(len(latencies) * 0.999)],
            loop_max=lag[MAX],
            loop_p999=lag[P999],
            failures=someone.failures,
        )


async def _calls(someone: Bystander, number: int) -> None:
    async with someone.calling() as latencies:
        await wait_until(lambda: len(latencies) >= number, description="calls", within=WITHIN)


def _rotate(log: Path) -> None:
    """Copy and truncate: of a process that logs to stderr, nobody can take the file away."""
    shutil.copyfile(log, log.with_suffix(".1"))
    os.truncate(log, 0)


async def _reload(limiter: Limiter, number: int) -> None:
    await asyncio.to_thread(_rotate, limiter.log)
    limiter.process.send_signal(signal.SIGHUP)

    async def is_done() -> bool:
        return (await limiter.figures()).get("reloads_total", 0) >= number

    await wait_until(is_done, description="the policy is read", within=WITHIN)
