"""The event loop of the tests: production's, but deaf to grpcio once it is closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVarTuple

import uvloop

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from contextvars import Context
    from typing import Unpack

_Ts = TypeVarTuple("_Ts")
_LATE = "_handle_callback_wrapper"
"""By which grpcio hands an event to the loop that began the call."""


class Loop(uvloop.Loop):
    """Each test has one of its own, and all of a process share grpcio's one queue of events.

    A call that was broken off may end after its loop: grpcio then hands its last event to the
    closed loop from within the next test's, which would be blamed for the RuntimeError.
    """

    def call_soon_threadsafe(  # type: ignore[override] # nobody asks for the handle of a late event
        self,
        callback: Callable[[Unpack[_Ts]], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.Handle | None:
        """Schedule a callback; drop grpcio's once the loop is closed."""
        if self.is_closed() and getattr(callback, "__name__", "") == _LATE:
            return None
        return super().call_soon_threadsafe(callback, *args, context=context)
