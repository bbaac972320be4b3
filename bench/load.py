"""Load on a running server, and what it cost."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, NamedTuple

from bench import raw, request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.servers import Running

CONNECTIONS = 2
STREAMS = 50


class Cost(NamedTuple):
    """One round on one server."""

    rate: float
    """Decisions a second."""
    cpu_us: float
    """Server CPU per decision, user and system, microseconds."""
    p50: float
    p99: float
    p999: float
    """Latencies in milliseconds, at that load."""


def measure(server: Running, calls: int, keys: Sequence[str] = (request.KEY,)) -> Cost:
    """Make a bounded number of calls, of these keys in turn, and say what they cost.

    Nobody reads the answers: one call with a real client before and one after make sure that
    decisions are what is measured.
    """
    request.verify(server.target)
    drive(server.target, calls // 10, keys)
    before = server.cpu_seconds()
    began = time.perf_counter()
    latencies = sorted(drive(server.target, calls, keys))
    took = time.perf_counter() - began
    cpu = server.cpu_seconds() - before
    request.verify(server.target)
    p50, p99, p999 = (latencies[int(len(latencies) * part)] for part in (0.5, 0.99, 0.999))
    return Cost(calls / took, cpu / calls * 1e6, p50 / 1e3, p99 / 1e3, p999 / 1e3)


def drive(target: str, calls: int, keys: Sequence[str] = (request.KEY,)) -> list[int]:
    """Return the latencies of that many calls, microseconds."""
    frames = itertools.cycle([request.frame(request.message(key)) for key in keys])
    bodies = list(itertools.islice(frames, calls))
    return raw.drive(target, request.PATH, bodies, CONNECTIONS, STREAMS).latencies
