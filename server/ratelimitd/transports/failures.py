"""How a servicer's own failure is told on every transport: to callers without what went wrong."""

from __future__ import annotations

FAILED = "a servicer failed"
"""What operators are told; the rest is `telemetry.log_failure`'s."""
DETAILS = "internal error"
"""The status message of a call whose servicer failed (UNKNOWN)."""
