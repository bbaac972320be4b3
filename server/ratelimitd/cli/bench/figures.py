"""What a load came to, as values and as text. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

PERCENTILES = (50.0, 99.0, 99.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is asked for. One of `seconds` and `requests` is not 0, and ends it."""

    seconds: float
    requests: int
    connections: int
    streams: int
    """Calls under way at once on each connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What came of a load."""

    generator: str
    seconds: float
    decisions: int
    """Answers with a decision in them, as far as the generator can tell."""
    not_ok: int
    """Calls that ended in an error, or in nothing."""
    latencies: Sequence[int]
    """Microseconds of each call, sorted."""

    @property
    def per_second(self) -> float:
        """Decisions per second."""
        return self.decisions / self.seconds if self.seconds else 0.0

    def percentile(self, percent: float) -> float:
        """Return the milliseconds that so many of the calls took at most; 0 without calls."""
        if not self.latencies:
            return 0.0
        rank = max(1, math.ceil(len(self.latencies) * percent / 100))
        return self.latencies[rank - 1] / 1000

    def as_dict(self) -> dict[str, Any]:
        """Return the shape of `--json`."""
        return {
            "generator": self.generator,
            "seconds": round(self.seconds, 3),
            "decisions": self.decisions,
            "decisions_per_second": round(self.per_second, 1),
            "not_ok": self.not_ok,
            "latency_ms": {f"p{percent:g}": self.percentile(percent) for percent in PERCENTILES},
        }

    def as_text(self) -> str:
        """Return the figures for reading."""
        waits = ", ".join(
            f"p{percent:g} {self.percentile(percent):.2f} ms" for percent in PERCENTILES
        )
        return (
            f"{self.per_second:,.0f} decisions/s ({self.decisions:,} in {self.seconds:.2f} s)\n"
            f"{waits}\n"
            f"{self.not_ok:,} calls without a decision"
        )
