"""Makes docs/reliability.md of what the long runs measured, beside the best that is known."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench import machine
from tests.robustness import outcomes
from tests.robustness.outcomes import TRANSPORTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tests.robustness.support.aborts import Storm
    from tests.robustness.support.attack import Figures
    from tests.robustness.support.crowds import Cost
    from tests.robustness.support.deploy import Deployed
    from tests.robustness.support.leaks import Leaks
    from tests.robustness.support.reloads import Lag

PLACE: Final = Path(__file__).parents[2] / "docs/reliability.md"
HEAD: Final = """\
# What hostile clients can do to each transport

What a fleet that counts in one Redis bears: [reliability-redis.md](reliability-redis.md).

Written by `make soak`; the outcomes are those of `tests/robustness/outcomes.py`, which `make test`
asserts on every transport, each a process of its own. Nothing is skipped. Measured on:
{machine}.
"""
FLOODS: Final = """
## Floods
One peer sends 1 MB/s evenly, in steps of 2 ms, from a process of its own; whoever is cut off comes
back. *Cut*: the server ended the connection; *open*: it was borne. Then the limiter's CPU a frame,
what its memory grew by, how fast it took the flood, and the p99 of a bystander's calls beside it
(500 a second on a connection of its own) as a multiple of the control's: the same flood sent to a
sink beside the bystander's calls, because all of them share the machine's two cores. Median of
{rounds} rounds of {calls:,} calls or more; at most ×{most:g} is asserted of all rows but those
that `SLOWED` has.

Reference: Envoy's own 53 flood tests, all of which end in a closed connection; h2corn measured
before we bounded it: 0.5 to 3.4 µs a frame, up to 68 KiB, never closed but for rapid resets.
"""
ABORTS: Final = """
## Clients of Envoy that go away
{rate} aborts a second through one Envoy worker. What counts: connections that the limiter ended, or
that ended under calls (aim: 0), and calls that failed by it, bystanders' among them (aim: 0, as in
the quiet run). `replaced` are those that Envoy ended itself, as envoy/envoy.yaml tells it to after
150 calls; *without end* is the same Envoy without that line. Reference: none by grpcio; h2corn with
3 ms decisions lost 24 connections in 20 s at 423 a second.
"""
DEPLOYS: Final = """
## Restarts and reloads
1,000 requests a second through one Envoy: calls that failed, of all, and those that were asked
again elsewhere. Aim: 0 of 18,000 with two limiters, restarted six times in turn. Reference: h2corn,
told to restart its workers six times, lost 6 of 18,000, and 1 with refused streams asked again.
Rows with a colon have that weakness planted; all but the first are reported only.
"""
OTHERS: Final = """
## Everything else
Without figures; references: gRPC's own servers pass all of the interop suite, and end the
connection at each of the 23 wrong prefaces.
"""
SLOW: Final = """
## Peers that take their time
Seconds until the call or the connection is ended; `-`: not within 12 s. Longer waits saw grpcio end
each such peer at 60 s, pyvoy those that answer no PING at 50 s, and h2corn none in 150 s.
"""

LEAKS: Final = """
## A million calls, a tenth of them cancelled
What each 100,000 calls add to the limiter's memory, after the first 200,000; then the descriptors
and tasks that are left once everybody has hung up. Reference: 0; grpcio leaks on cancelled calls
(grpc#43360).
"""
LAGS: Final = """
## Reloading 10,000 rules under load, with the log rotated
Milliseconds that a caller waited, at the most and at p99.9, and beside them the longest of a quiet
time; then how late the event loop was by the limiter's own figures. Reference: under 5 ms.
"""
CROWDS: Final = """
## A thousand connections that are never done
p99 of a bystander's calls, and in brackets without them; memory of each; when the limiter let nine
in ten go by itself (*never*: not within 15 s); seconds until the last descriptor was free, from
then on or from their leaving. *half-open* says nothing, *slowloris* a byte of its headers a second.
"""
MUTATED: Final = """
## A million mutated frames
In conversations that were sound, one to four mutations in each; what memory grew by after the first
300,000; calls of a bystander that failed; connections that were refused. No process ended.
"""
crowds: Final[dict[str, dict[str, Cost]]] = defaultdict(dict)
fuzzed: Final[dict[str, Mutated]] = {}
leaks: Final[dict[str, dict[str, Leaks]]] = defaultdict(dict)
lags: Final[dict[str, Lag]] = {}
deploys: Final[dict[str, dict[str, Deployed]]] = defaultdict(dict)
"""What the other files of tests/soak measured: row and transport."""


@dataclasses.dataclass(frozen=True, slots=True)
class Mutated:
    """What came of mutated frames."""

    frames: int
    grown: int
    failed: int
    refused: int

    def __str__(self) -> str:
        return (
            f"{self.frames:,} frames, {self.grown:+,} KiB, {self.failed} failed, "
            f"{self.refused} refused"
        )


def crowd(cost: Cost) -> str:
    """Return a cell."""
    let_go = "never" if cost.let_go is None else f"after {cost.let_go:.1f} s"
    return (
        f"{cost.beside * 1e3:.1f} ms ({cost.control * 1e3:.1f}), {cost.grown / cost.held:.0f} KiB, "
        f"{let_go}, {cost.freed:.2f} s"
    )


def table(
    first: str, rows: Mapping[Any, Iterable[object]], columns: Sequence[str] = TRANSPORTS
) -> str:
    """Return a table with these columns behind the first, which has the names of the rows."""
    head = [(first, *columns), ("---",) * (1 + len(columns))]
    lines = [*head, *((row, *cells) for row, cells in rows.items())]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def flood(figures: Figures) -> str:
    """Return a cell."""
    return (
        f"{figures.ending}, {figures.cpu_us:.1f} µs, {figures.grown:+,} KiB, "
        f"{figures.rate / 1e6:.1f} MB/s, ×{figures.ratio:.1f} ({figures.beside * 1e3:.1f} ms)"
    )


def storm(seen: Storm) -> str:
    """Return a cell."""
    return (
        f"{seen.closed} closed, {seen.errors} errors, {seen.retired} replaced "
        f"({seen.aborts:,} aborts, {seen.resets:,} resets, {seen.served:,} served)"
    )


def deployed(seen: Deployed) -> str:
    """Return a cell."""
    return f"{seen.errors:,} of {seen.calls:,} ({seen.retries:,} asked again)"


def leaked(found: Leaks) -> str:
    """Return a cell."""
    return (
        f"{found.slope:+,.0f} KiB, {found.descriptors:+} descriptors, {found.tasks:+} tasks "
        f"({found.tally.calls:,} calls, {found.tally.connections} connections)"
    )


def lag(seen: Lag) -> str:
    """Return a cell."""
    return (
        f"{seen.longest * 1e3:.1f}, {seen.p999 * 1e3:.1f} (quiet {seen.quiet * 1e3:.1f}); "
        f"loop {seen.loop_max * 1e3:.1f}, {seen.loop_p999 * 1e3:.1f}"
    )


def _cells(row: Mapping[str, str]) -> list[str]:
    return [row.get(transport, "not run") for transport in TRANSPORTS]


def _long_runs() -> list[str]:
    """Return the sections of what ran in this session."""
    calls = {row: _cells({t: leaked(found) for t, found in e.items()}) for row, e in leaks.items()}
    peers = {row: _cells({t: crowd(cost) for t, cost in e.items()}) for row, e in crowds.items()}
    waits = {"10 reloads": _cells({transport: lag(seen) for transport, seen in lags.items()})}
    restarts = {
        row: _cells({transport: deployed(seen) for transport, seen in each.items()})
        for row, each in deploys.items()
    }
    return [
        *(CROWDS, "\n", table("crowd", peers)),
        *(MUTATED, "\n", table("", {"mutated": _cells({t: str(e) for t, e in fuzzed.items()})})),
        *(DEPLOYS, "\n", table("limiters", restarts)),
        *(LEAKS, "\n", table("decisions", calls)),
        *(LAGS, "\n", table("policy", waits)),
    ]


def _others() -> dict[str, list[str]]:
    """Return the rows that `make test` asserts, counted."""
    cases = [outcomes.column(outcomes.INTEROP, name).values() for name in TRANSPORTS]
    malformed = [list(outcomes.column(outcomes.MALFORMED, name).values()) for name in TRANSPORTS]
    kinds = ("closed", "reset", "silence")
    return {
        "gRPC's unary interop cases (UNIMPLEMENTED or identity is no failure)": [
            f"{len(column)}/{len(outcomes.INTEROP)}" for column in cases
        ],
        "wrong prefaces closed at once": [
            f"{outcomes.SHORT_PREFACES[name]}/23" for name in TRANSPORTS
        ],
        f"malformed peers ({len(outcomes.MALFORMED)}), all survived": [
            ", ".join(f"{column.count(kind)} {kind}" for kind in kinds) for column in malformed
        ],
        **{f"found by its row: {row}": _found(row) for row in outcomes.BOUNDS},
    }


def _found(row: str) -> list[str]:
    pairs = zip(outcomes.BOUNDS[row], outcomes.PLANTED[row], strict=True)
    return [f"{sound}; planted: {planted}" for sound, planted in pairs]


def write(
    floods: Mapping[str, Mapping[str, Figures]],
    storms: Mapping[str, Mapping[str, Storm]],
    rate: int,
) -> None:
    """Write the document: row to transport to figures."""
    slow = {
        row: ["-" if each is None else each for each in waits]
        for row, waits in outcomes.SLOW.items()
    }
    parts = (
        HEAD.format(machine=machine.describe()),
        FLOODS.format(
            rounds=min(len(f.rounds) for each in floods.values() for f in each.values()),
            calls=min(f.calls for each in floods.values() for f in each.values()),
            most=outcomes.BESIDE,
        ),
        "\n",
        table("flood", {row: [flood(each[t]) for t in TRANSPORTS] for row, each in floods.items()}),
        ABORTS.format(rate=rate),
        "\n",
        table("limiter", {row: [storm(e[t]) for t in TRANSPORTS] for row, e in storms.items()}),
        OTHERS,
        "\n",
        table("row", _others()),
        SLOW,
        "\n",
        table("peer", slow),
        *_long_runs(),
    )
    PLACE.write_text("".join(parts), "utf-8")
