"""The circuit breaker: stops waiting on a server that does not answer. A state machine, no I/O.

Closed: commands are sent. One that times out, or finds no connection, opens it. Open: nothing is
sent but probes, the first at once and then one about every `INTERVAL_NS`, never two at a time; the
first that is answered closes it. Its owner (one per server) asks `refusal` before it sends, tells
what came of it, and sends the probes. Whether an answer came in time is the link's to say: it knows
a slow event loop from a dead server.
"""

from __future__ import annotations

import enum
import random
from typing import TYPE_CHECKING

from ratelimitd.errors import StoreNotAskedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ratelimitd.errors import StoreError

INTERVAL_NS = 100_000_000
"""From the end of a probe to the next one, on average; each is off by up to half of it, so that
processes which lost a server together do not come back to it together."""


class State(enum.Enum):
    """Whether commands are sent."""

    CLOSED = "closed"
    OPEN = "open"


class Breaker:
    """One server's breaker. All methods are called from one thread."""

    def __init__(
        self,
        clock_ns: Callable[[], int],
        *,
        on_change: Callable[[State, str], None],
        interval_ns: int = INTERVAL_NS,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Begin closed. `on_change` is told each new state and why; `jitter` is within [0, 1)."""
        self._clock_ns = clock_ns
        self._on_change = on_change
        self._interval_ns = interval_ns
        self._jitter = jitter
        self._why = ""
        self._probe_at = 0
        self._probing = False
        self._opened_at = 0
        self.state = State.CLOSED
        """Read it freely; only this class changes it."""
        self.opened = 0
        """Times that it opened."""
        self.closed = 0
        """Times that it closed again."""
        self.probes = 0
        """Probes that were sent."""
        self.refused = 0
        """Times that something was not sent because it was open."""

    def refusal(self) -> StoreNotAskedError | None:
        """Return what to raise in place of sending; None: send."""
        if self.state is State.CLOSED:
            return None
        self.refused += 1
        return StoreNotAskedError(self._why)

    def failed(self, error: StoreError) -> None:
        """Take note that a command got no answer. Once open, that is no news."""
        if self.state is State.OPEN:
            return
        self.state, self._why = State.OPEN, str(error)
        self.opened += 1
        self._opened_at = self._probe_at = self._clock_ns()
        self._probing = False
        self._on_change(State.OPEN, self._why)

    def probe_in_ns(self) -> int | None:
        """Return how long to wait before the next probe; None: none is wanted now.

        That is so while closed, and while a probe is under way.
        """
        if self.state is State.CLOSED or self._probing:
            return None
        return max(0, self._probe_at - self._clock_ns())

    def probe_sent(self) -> None:
        """Take note that a probe is under way. Only when `probe_in_ns` says 0."""
        assert self.probe_in_ns() == 0
        self._probing = True
        self.probes += 1

    def probe_ended(self, error: StoreError | None) -> None:
        """Take note of what came of the probe; None: it was answered, and all is well again."""
        assert self._probing
        self._probing = False
        now = self._clock_ns()
        if error is not None:
            self._why = str(error)
            self._probe_at = now + int(self._interval_ns * (0.5 + self._jitter()))
            return
        self.state = State.CLOSED
        self.closed += 1
        why = f"answered again after {(now - self._opened_at) / 1e9:.1f} s"
        self._on_change(State.CLOSED, why)

    def figures(self) -> dict[str, int]:
        """Return numbers for `Store.figures`; an owner of several breakers adds them up."""
        return {
            "store_breaker_state": int(self.state is State.OPEN),
            "store_breaker_opened_total": self.opened,
            "store_breaker_closed_total": self.closed,
            "store_breaker_probes_total": self.probes,
            "store_breaker_refused_total": self.refused,
        }
