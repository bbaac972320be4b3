"""Leases of answers that nobody took: given back at once, and not only when they end.

Who went away, or let a deadline pass, while the store was asked is the limiter's to see; here it is
the answer itself that could not be handed over. Whether it could, the transport knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections import Counter as Tally
    from collections.abc import Callable

    from ratelimitd.decision import Decision
    from ratelimitd.limiter import Limiter

UNDELIVERED = "leases_undelivered"


class Ending(Protocol):
    """What is asked of a call that was granted a lease, whichever the transport."""

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Call back with this when the call has ended, however it ended."""
        ...

    def cancelled(self) -> bool:
        """Say whether the call ended without its answer."""
        ...


class Undelivered:
    """Looks what becomes of the answers that carry a lease."""

    def __init__(self, limiter: Limiter, counts: Tally[tuple[str, str]], method: str) -> None:
        """Give back through `limiter`; `counts` is `Telemetry.counts`."""
        self._limiter = limiter
        self._counts = counts
        self._label = UNDELIVERED, method

    def watch(self, call: Ending, decision: Decision) -> None:
        """Give the lease that was granted just now back if the answer is not taken."""
        when_lost = getattr(call, "when_lost", None)
        if when_lost is not None:
            when_lost(self._give_back, decision)
            return

        def ended(call: Ending) -> None:  # grpcio's own contexts tell only this
            if call.cancelled():
                self._give_back(decision)

        call.add_done_callback(ended)

    def _give_back(self, decision: Decision) -> None:
        self._counts[self._label] += 1
        self._limiter.give_back(decision.ops, decision.lease)
