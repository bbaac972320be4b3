"""The only place that reads a clock. All time is integer microseconds since the Unix epoch, UTC.

The core never reads it: stores own a `Clock`, and hand the instant of a decision on with its
results.
"""

from __future__ import annotations

import time
from typing import Protocol

SECOND = 1_000_000
"""Microseconds in a second."""


class Clock(Protocol):
    """Something that tells the time in integer microseconds since the epoch."""

    def __call__(self) -> int:
        """Return now. Never less than an earlier answer of the same clock."""
        ...


class SystemClock:
    """The host's wall clock, made monotonic.

    When the wall clock steps forward by over `STEP_NS`, this clock follows. When it steps back,
    this clock goes on at the pace of the monotonic clock: windows never reopen, and nobody is
    locked out until the wall clock has caught up. Small differences are not followed: a thread that
    is paused between two readings must not push the clock ahead for good.
    """

    STEP_NS = 100_000_000

    __slots__ = ("_offset",)

    def __init__(self) -> None:
        self._offset = time.time_ns() - time.monotonic_ns()

    def __call__(self) -> int:
        """Return now, in microseconds."""
        monotonic = time.monotonic_ns()
        offset = time.time_ns() - monotonic
        if offset > self._offset + self.STEP_NS:
            self._offset = offset
        return (monotonic + self._offset) // 1000


class ManualClock:
    """A clock that stands still until told to move: for tests and simulations."""

    __slots__ = ("now",)

    def __init__(self, now: int) -> None:
        self.now = now
        """The present instant, microseconds since the epoch."""

    def __call__(self) -> int:
        """Return the present instant."""
        return self.now

    def advance(self, microseconds: int) -> None:
        """Move forward by that many microseconds. Raises `ValueError` on a negative number."""
        if microseconds < 0:
            msg = f"a clock cannot go back by {-microseconds} µs"
            raise ValueError(msg)
        self.now += microseconds


def monotonic_ns() -> int:
    """Nanoseconds on a clock that only measures durations (deadlines, load tests)."""
    return time.monotonic_ns()
