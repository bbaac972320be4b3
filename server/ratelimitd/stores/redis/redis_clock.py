"""The instant at Redis, told without asking: an offset on a monotonic base.

Windows are named by this clock before a batch is sent; the script checks the name against its own
TIME and answers *stale* where it is wrong. The host's wall clock is not used, so that two hosts
whose clocks disagree name the same windows. Does no I/O.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

STEP = 100_000
"""Microseconds: a server's clock that falls behind by more has been set back, and is not followed:
time goes on from where it was. What is less is drift, and is."""
DRIFT = 64
"""The part of a difference that one answer corrects."""


class RedisClock:
    """What a server's clock says, as far as its answers tell."""

    __slots__ = ("_base_ns", "_last", "_monotonic_ns", "_offset", "steps")

    def __init__(self, monotonic_ns: Callable[[], int]) -> None:
        self._monotonic_ns = monotonic_ns
        self._base_ns = monotonic_ns()
        self._offset: int | None = None
        self._last = 0
        self.steps = 0
        """Answers of a server whose clock had been set back."""

    @property
    def is_set(self) -> bool:
        """Whether any answer has been seen."""
        return self._offset is not None

    def __call__(self) -> int:
        """Return the present instant, microseconds. Never less than before."""
        elapsed = (self._monotonic_ns() - self._base_ns) // 1000
        now = elapsed + (self._offset or 0)
        self._last = max(now, self._last)
        return self._last

    @property
    def floor(self) -> int:
        """The least instant that a decision may be made at: time does not run backwards."""
        return self() - STEP if self._offset is not None else 0

    def observe(self, instant: int, floor: int = 0) -> None:
        """Learn what the server's clock said just now, `floor` having been asked for.

        The answer's way back is not subtracted: it is microseconds, and the script checks. A clock
        ahead is followed at once. One behind is followed slowly, because late answers look alike;
        one so far behind that the floor held has been set back, and time goes on without it.
        """
        offset = instant - (self._monotonic_ns() - self._base_ns) // 1000
        if self._offset is None or offset >= self._offset:
            self._offset = offset
        elif instant > floor:
            self._offset -= (self._offset - offset) // DRIFT
        else:
            self.steps += 1
