"""`python -m bench`: one table from one run, every rate and CPU figure as a ratio to the yardstick.

Servers take turns, round by round, so that a machine whose speed drifts treats them alike; figures
are medians of the rounds. Bounded: about eight minutes.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from bench import (
    alerts,
    in_process,
    load,
    machine,
    memory_per_subject,
    meters,
    registered,
    servers,
    shared,
)

if TYPE_CHECKING:
    from bench.load import Cost

YARDSTICK = ("grpc.aio by hand (frozen)", "memory")


def commands(folder: str) -> dict[tuple[str, str], list[str]]:
    """Return what is compared: (transport, store) to the server's command."""
    return {
        YARDSTICK: servers.naive(),
        ("grpcio", "memory"): servers.ratelimitd("grpcio"),
        ("h2corn", "memory"): servers.ratelimitd("h2corn"),
        ("pyvoy", "memory"): servers.ratelimitd("pyvoy"),
        ("h2corn", "file"): servers.ratelimitd("h2corn", f"file:{Path(folder, 'counts.db')}"),
        ("h2corn", "no decision"): servers.noop(),
    }


def rounds(calls: int, times: int) -> dict[tuple[str, str], list[Cost]]:
    """Measure every server once a round."""
    costs: dict[tuple[str, str], list[Cost]] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        running = {
            name: stack.enter_context(servers.running(command))
            for name, command in commands(folder).items()
        }
        for _ in range(times):
            for name, server in running.items():
                costs.setdefault(name, []).append(load.measure(server, calls))
    return costs


def table(costs: dict[tuple[str, str], list[Cost]]) -> Table:
    """Lay the medians out, with CPU as a ratio to the yardstick round by round."""
    result = Table(
        "transport", "store", "decisions/s", "CPU µs", "CPU ratio", "p50 ms", "p99", "p99.9"
    )
    for (transport, store), measured in costs.items():
        pairs = zip(measured, costs[YARDSTICK], strict=True)
        ratio = median(ours.cpu_us / theirs.cpu_us for ours, theirs in pairs)
        result.add_row(
            transport,
            store,
            f"{median(cost.rate for cost in measured):,.0f}",
            f"{median(cost.cpu_us for cost in measured):.1f}",
            f"1/{1 / ratio:.1f}",
            f"{median(cost.p50 for cost in measured):.2f}",
            f"{median(cost.p99 for cost in measured):.2f}",
            f"{median(cost.p999 for cost in measured):.2f}",
        )
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000, help="per server and round")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    console = Console(width=110)
    console.print(machine.describe())
    console.print(
        f"load: {load.CONNECTIONS} connections of {load.STREAMS} streams; "
        f"{options.rounds} alternating rounds of {options.calls:,} calls; tier of three limits"
    )
    console.print(table(rounds(options.calls, options.rounds)))
    shared.main(options.calls, options.rounds)
    meters.main(times=options.rounds)
    registered.main(options.calls, options.rounds)
    cost = in_process.measure()
    console.print(
        f"in process, bytes in to bytes out: {cost.decision:.2f} µs, "
        f"{cost.ratio:.2f} times the {cost.yardstick:.2f} µs of parsing and building alone"
    )
    alerts.main()
    memory_per_subject.main()


if __name__ == "__main__":
    main()
