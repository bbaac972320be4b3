"""The only place that reads a clock. All time is integer microseconds since the Unix epoch, UTC.

The core never reads it: stores own a `Clock`, and hand the instant of a decision on with its
results.
"""

from __future__ import annotations

from time import monotonic_ns, time_ns
from typing import Protocol


class Clock(Protocol):
    """Something that tells the time in integer microseconds since the epoch."""

    def __call__(self) -> int:
        """Return now. Never less than an earlier answer of the same clock."""
        ...


class SystemClock:
    """The host's wall clock, made monotonic.

    When the wall clock steps forward, this clock follows. When it steps back by over `STEP_NS`,
    this clock goes on from where it was, ahead of the wall by that much: windows never reopen, and
    nobody is locked out until the wall clock has caught up. A smaller step back is followed: the
    clock stands still for that long.
    """

    STEP_NS = 100_000_000

    __slots__ = ("_ahead", "_last", "_offset")

    def __init__(self) -> None:
        self._ahead = 0
        self._last = time_ns()
        self._offset = self._last - monotonic_ns()

    def __call__(self) -> int:
        """Return now, in microseconds."""
        now = time_ns() + self._ahead
        if not 0 <= now - self._last < self.STEP_NS:
            now = self._checked(now - self._ahead)
        self._last = now
        return now // 1000

    def _checked(self, wall: int) -> int:
        """Return the present where the wall clock moved by more than an ordinary pause."""
        offset = wall - monotonic_ns()
        if offset < self._offset - self.STEP_NS:
            self._ahead = self._offset - offset
        else:
            self._ahead, self._offset = 0, offset
        return max(self._last, wall + self._ahead)


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


def steady_ns() -> int:
    """Nanoseconds on a clock that only measures durations (deadlines, load tests)."""
    return monotonic_ns()
