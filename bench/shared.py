"""Counting in Redis: rates, and the CPU of limiter and Redis together, against the naive way.

`python -m bench.shared` runs these rows alone. Each server counts on a Redis of its own, so that
Redis's CPU is told apart; they take turns, round by round.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console
from rich.table import Table

from bench import load, servers
from ratelimitd.devkit.redis_server import find_server

if TYPE_CHECKING:
    from collections.abc import Iterator

YARDSTICK = "grpc.aio by hand, EVALSHA a call (frozen)"
UNBATCHED = "h2corn, one decision a batch"
PATIENT = ("--store-timeout", "2s")
"""As long as the naive way waits or longer, so that a machine that is busy measures no outage."""


class Round(NamedTuple):
    """One round on one server."""

    limiter: load.Cost
    redis_us: float
    """CPU of Redis per decision, microseconds."""

    @property
    def total_us(self) -> float:
        """CPU of both."""
        return self.limiter.cpu_us + self.redis_us


def commands(url: str) -> dict[str, list[str]]:
    """Return what is compared, each by the command that counts on `url`."""
    unbatched = [*servers.ratelimitd("h2corn", url), *PATIENT]
    unbatched[2] = "bench.unbatched"
    return {
        YARDSTICK: [sys.executable, "-m", "bench.naive_redis", str(servers.free_port()), url],
        "h2corn": [*servers.ratelimitd("h2corn", url), *PATIENT],
        "pyvoy": [*servers.ratelimitd("pyvoy", url), *PATIENT],
        UNBATCHED: unbatched,
    }


@contextmanager
def redis() -> Iterator[tuple[int, str]]:
    """Run a server that keeps nothing on disk; its process and its URL."""
    with tempfile.TemporaryDirectory() as folder:
        unix = Path(folder, "socket")
        command = [str(find_server()), "--port", "0", "--unixsocket", str(unix), "--save", ""]
        with subprocess.Popen([*command, "--dir", folder], stdout=subprocess.DEVNULL) as process:
            try:
                deadline = time.monotonic() + 10
                while not unix.exists() and time.monotonic() < deadline:
                    time.sleep(0.02)
                yield process.pid, f"unix://{unix}"
            finally:
                process.terminate()


def rounds(calls: int, times: int) -> dict[str, list[Round]]:
    """Measure every server once a round."""
    found: dict[str, list[Round]] = {}
    with ExitStack() as stack:
        running = {}
        for name in commands(""):
            pid, url = stack.enter_context(redis())
            command = commands(url)[name]
            running[name] = stack.enter_context(servers.running(command)), servers.Running(pid, "")
        for _ in range(times):
            for name, (server, store) in running.items():
                before = store.cpu_seconds()
                cost = load.measure(server, calls)
                # The warm-up is a tenth of the calls, and Redis saw it too.
                redis_us = (store.cpu_seconds() - before) / (calls * 1.1) * 1e6
                found.setdefault(name, []).append(Round(cost, redis_us))
    return found


def table(measured: dict[str, list[Round]]) -> Table:
    """Lay the medians out, with ratios to the yardstick round by round."""
    result = Table(
        "counting in Redis", "decisions/s", "rate", "CPU µs", "of Redis", "total", "ratio", "p99 ms"
    )
    for name, mine in measured.items():
        pairs = list(zip(mine, measured[YARDSTICK], strict=True))
        ratio = median(ours.total_us / theirs.total_us for ours, theirs in pairs)
        faster = median(ours.limiter.rate / theirs.limiter.rate for ours, theirs in pairs)
        result.add_row(
            name,
            f"{median(each.limiter.rate for each in mine):,.0f}",
            f"{faster:.1f}×",
            f"{median(each.limiter.cpu_us for each in mine):.1f}",
            f"{median(each.redis_us for each in mine):.1f}",
            f"{median(each.total_us for each in mine):.1f}",
            f"1/{1 / ratio:.1f}",
            f"{median(each.limiter.p99 for each in mine):.2f}",
        )
    return result


def main(calls: int = 20_000, times: int = 5) -> None:
    """Measure and print."""
    measured = rounds(calls, times)
    console = Console(width=120)
    console.print(table(measured))
    batched = median(each.redis_us for each in measured["h2corn"])
    alone = median(each.redis_us for each in measured[UNBATCHED])
    console.print(
        f"Redis's own CPU: {batched:.1f} of {alone:.1f} µs unbatched, 1/{alone / batched:.1f}"
    )


if __name__ == "__main__":
    main(int(os.environ.get("CALLS", "20000")))
