"""Makes docs/reliability-redis.md of what the long runs with Redis measured.

Rows have the numbers and the references of the scorecard that the project set out with.
"""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench import machine
from tests.e2e.support.redis_faults import FAULTS, NOTICED
from tests.e2e.support.redis_outage import MODES
from tests.soak.report import table

if TYPE_CHECKING:
    from tests.e2e.support.redis_outage import Outage

PLACE: Final = Path(__file__).parents[2] / "docs/reliability-redis.md"
HEAD: Final = """\
# A fleet that counts in one Redis: what it bears, in figures

Written by `make soak`, from real servers and real `ratelimitd serve` processes; what must hold is
asserted by the same tests, and in short by `make test`. Measured on:
{machine}; load of the machine when this was written: {load}.

## The scorecard
"""
MATRIX: Final = """
## Every fault with every failure policy
One limiter as shipped (`--store-timeout 12ms`), nine callers with 50 calls a second each. *back*:
seconds from Redis's return to the first moment from which on the store decided; p99 and the longest
wait of a caller while Redis was away; what the limiter's memory grew by. What each caller got is
asserted, call by call, to be what [store-failure.md](store-failure.md) says; none hangs.

"""
REFERENCES: Final = {
    9: (
        "exactness: 4 processes, 256 callers, one key, limit 1,000 of 20,000 calls",
        "admitted - limit = 0; Unkey +10 % a node",
    ),
    10: ("sliding window against an exact log, random arrivals", "Cloudflare 0.003 % wrong"),
    11: ("most that passed in any span of a window, of the limit", "1.0 (fixed window 2.0)"),
    12: ("Redis stalls for 0.8 s: charges a call at most", "1 (redis-py's default: 2, bound 11)"),
    13: ("replies 30 ms late: calls charged without the store's answer", "0, with an id a call"),
    14: ("calls cancelled at random through a slow link", "0 wrong; redis-py 1 reconnect a cancel"),
    15: ("kill -9 of a primary that Sentinels watch", "up to 56 % of what was told lost"),
    16: ("a primary that turns replica under load", "ratelimit (Go): for ever before #1191"),
    17: ("cluster goes from 3 to 4 servers under load", "0 errors, 0 drift"),
    18: ("SCRIPT FLUSH every 50 ms", "0 errors, 0 drift"),
    19: ("SIGSTOP for 10 s, then SIGCONT", "p99 under the own deadline; Go's runs out of memory"),
    20: ("Redis gone for 20 s", "Stripe: API unaffected; Upstash allows after 5 s"),
    21: ("connections after a restart, 4 processes under load", "at most pool x workers, jittered"),
    22: (
        "three times what it can, for 10 s, callers on the same two cores",
        "over 90 % goodput, back in 2 s (own aim)",
    ),
    23: ("a hot key against a hundred", "denials from a local cache (ratelimit #111)"),
    24: ("keys after limiters were killed under load", "0 without a TTL"),
    25: ("hosts' clocks an hour early and late", "0 drift, with Redis's TIME"),
    26: ("the script's longest batch", "under 1 ms"),
}
rows: Final[dict[int, str]] = {}
"""Figures by number."""
others: Final[dict[str, str]] = {}
"""Figures that the scorecard has no row for, by what they are of."""
matrix: Final[dict[str, dict[str, Outage]]] = defaultdict(dict)


def cell(fault: str, seen: Outage) -> str:
    """Return a cell of the matrix."""
    if fault not in NOTICED:
        return f"{seen.failures} calls without the store, at most {seen.longest * 1e3:.0f} ms"
    return (
        f"back {seen.recovery:.2f} s, p99 {seen.p99:.1f} ms, at most "
        f"{seen.longest * 1e3:.0f} ms, {seen.grown:+} KiB"
    )


def write() -> None:
    """Write the document, of whole tables only."""
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    scores = {number: (test, rows[number], best) for number, (test, best) in REFERENCES.items()}
    faults = {fault: [cell(fault, matrix[fault][mode]) for mode in MODES] for fault in FAULTS}
    parts = (
        HEAD.format(machine=machine.describe(), load=load),
        table("#", scores, ("test", "figure", "best known reference")),
        "\n",
        table("beside it", {what: (figure,) for what, figure in others.items()}, ("figure",)),
        MATRIX,
        table("fault", faults, MODES),
    )
    PLACE.write_text("".join(parts), "utf-8")
