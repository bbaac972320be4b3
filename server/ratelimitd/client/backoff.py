"""Trying again as a good customer does: not before `retry_after`, not for ever, not all at once."""

from __future__ import annotations

import asyncio
import random
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ratelimitd.client.clock import monotonic

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ratelimitd.client.values import Decision

_LONGEST_STEP = 10.0
"""Seconds of jitter, and between two tries of a limiter that is away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How often and how long to try."""

    attempts: int = 5
    """Tries in all."""
    within: float = 60.0
    """Seconds in all: a wait that would end later is not begun."""
    jitter: float = 0.2
    """A wait is longer by up to this share of itself, so that callers who were denied together do
    not come back together."""
    first: float = 0.1
    """Seconds before the second try of a limiter that is away; then twice as long each time."""

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.within < 0 or self.jitter < 0 or self.first <= 0:
            msg = "a backoff has at least one attempt, and no negative times"
            raise ValueError(msg)

    def wait(self, decision: Decision, tried: int, elapsed: float, luck: float) -> float | None:
        """Return how long to wait after so many tries and seconds; None: this is the answer.

        `luck` is a random number from 0 to 1. Never shorter than `retry_after`.
        """
        if decision.allowed or tried >= self.attempts:
            return None
        least = decision.retry_after
        if decision.away:
            least = min(self.first * 2 ** min(tried - 1, 20), _LONGEST_STEP)
        if least is None:  # waiting does not help
            return None
        wait = least + luck * min(self.jitter * least, _LONGEST_STEP)
        return None if elapsed + wait > self.within else wait

    def run(self, ask: Callable[[], Decision]) -> Decision:
        """Ask until it is allowed or trying on is no use; return the last answer. Blocks."""
        begun, tried = monotonic(), 0
        while True:
            decision = ask()
            tried += 1
            wait = self.wait(decision, tried, monotonic() - begun, random.random())  # noqa: S311 - no secret
            if wait is None:
                return decision
            threading.Event().wait(wait)

    async def arun(self, ask: Callable[[], Awaitable[Decision]]) -> Decision:
        """Ask until it is allowed or trying on is no use; return the last answer."""
        begun, tried = monotonic(), 0
        while True:
            decision = await ask()
            tried += 1
            wait = self.wait(decision, tried, monotonic() - begun, random.random())  # noqa: S311 - no secret
            if wait is None:
                return decision
            await asyncio.sleep(wait)
