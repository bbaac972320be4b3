"""The event loop of the tests: production's, but deaf to grpcio once it is closed.

Imported before grpcio: the tests call and start processes at the same time, which uvloop does by
fork. grpcio's support for forks begins its threads again in the child, which then write a call
that is under way a second time, to the same connection: the server ends it with STREAM_CLOSED.
Some children die of it before they are the process that was wanted.
Nobody here calls from a forked child, so that the support is left out; a process that a test
starts has it as ever.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, TypeVarTuple
from unittest import mock

import uvloop

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from contextvars import Context
    from typing import Unpack

with mock.patch.dict(os.environ, {"GRPC_ENABLE_FORK_SUPPORT": "0"}):  # is read once
    importlib.import_module("grpc.aio")

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
