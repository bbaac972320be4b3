"""What the process tells its operators: counts for scrapers, and log lines.

Counts are plain integers, one set of names for the whole process: nothing a caller sends becomes a
label. No API key, address or descriptor value is ever logged.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, TextIO

import structlog

if TYPE_CHECKING:
    from structlog.typing import Processor

MOST_LOGGED = 100
"""Distinct cases of one event that are logged once each; what comes after is only counted."""


class Telemetry:
    """Counts of one process, and what was already logged."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        """(metric, label value) to count; the label values are ours, never a caller's."""
        self._logged: defaultdict[str, set[str]] = defaultdict(set)
        self._log = logging.getLogger("ratelimitd")

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
        self._log.warning(advice, extra={"event_kind": event, "detail": case})


def configure_logging(style: str, stream: TextIO | None = None) -> None:
    """Send all log records of the process to stderr, as text (logfmt) or JSON, one line each."""
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
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
