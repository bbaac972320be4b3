"""What the process tells its operators: counts for scrapers, and log lines.

Counts are plain integers, one set of names for the whole process: nothing a caller sends becomes a
label. No API key, address or descriptor value is ever logged.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import traceback
from array import array
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple, TextIO

import structlog

from ratelimitd.clock import steady_ns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from structlog.typing import Processor

_LOG = logging.getLogger("ratelimitd")
MOST_LOGGED = 100
"""Distinct cases of one event that are logged once each; what comes after is only counted."""
TICK = 0.01
"""Seconds between two looks at how late the event loop is."""
TICKS = 6_000
"""Looks that are remembered: a minute's."""


def log_failure(error: BaseException, event: str) -> None:
    """Log one record about an exception that nobody handled: its kind, and where it was raised.

    Its text is left out, which may quote a request (a `KeyError` is its key).
    """
    frames = traceback.extract_tb(error.__traceback__)
    where = " > ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames)
    _LOG.error(event, extra={"error": _kinds(error), "where": where})


def _kinds(error: BaseException) -> str:
    """Return the names of an exception's class and of those that it came from."""
    names = [type(error).__name__]
    while (cause := error.__cause__ or error.__context__) is not None:
        names.append(type(cause).__name__)
        error = cause
    return " from ".join(names)


class Reading(NamedTuple):
    """What one process counted, as it stands."""

    counts: Mapping[tuple[str, str], int]
    """As in `Telemetry.counts`."""
    figures: Mapping[str, float]
    """Numbers by name; those that end in `_total` only grow."""


class Telemetry:
    """Counts of one process, and what was already logged."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        """(metric, label value) to count; the label values are ours, never a caller's."""
        self._logged: defaultdict[str, set[str]] = defaultdict(set)

    def count(self, metric: str, label: str) -> None:
        """Add one."""
        self.counts[metric, label] += 1

    def note(self, event: str, detail: str, advice: str) -> None:
        """Count something odd, and log each distinct case of it once.

        `event` is one of ours. Each has its own cap, so that nobody who sends many cases of one
        hides another.
        """
        self.counts["events", event] += 1
        case = ascii(detail[:200])[1:-1]  # one printable line, whatever was sent
        logged = self._logged[event]
        if case in logged or len(logged) >= MOST_LOGGED:
            return
        logged.add(case)
        _LOG.warning(advice, extra={"event_kind": event, "detail": case})


class LoopLag:
    """How late the event loop comes to what is due: every call that comes meanwhile waits as long.

    Looks a hundred times a second; whatever holds the loop for longer than that is seen.
    """

    def __init__(self) -> None:
        self._lateness = array("q", bytes(8 * TICKS))
        """Nanoseconds, of the last `TICKS` looks in a ring."""
        self._looks = 0
        self._due = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to look. Needs a running loop."""
        self._due = steady_ns() + int(TICK * 1e9)
        self._timer = asyncio.get_running_loop().call_later(TICK, self._look)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._lateness[self._looks % TICKS] = max(0, steady_ns() - self._due)
        self._looks += 1
        self.start()

    def figures(self) -> dict[str, float]:
        """Return the worst of the last minute, and what one look in a thousand was over."""
        lateness = sorted(self._lateness)
        return {
            "loop_lag_max_seconds": lateness[-1] / 1e9,
            "loop_lag_p999_seconds": lateness[TICKS - 1 - TICKS // 1000] / 1e9,
        }


def configure_logging(
    style: str, stream: TextIO | None = None, *, worker: int | None = None
) -> None:
    """Send all log records of the process to stderr, as text (logfmt) or JSON, one line each.

    `worker` is added to each, where there are several.
    """
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.stdlib.ExtraAdder(),
        structlog.processors.format_exc_info,
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if style == "json"
        else structlog.processors.LogfmtRenderer(key_order=["time", "level", "event"])
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(formatter)
    if worker is not None:
        handler.addFilter(lambda record: record.__dict__.update(worker=worker) is None)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
