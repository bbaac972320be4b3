"""Work in a thread while the event loop decides calls."""

from __future__ import annotations

import contextlib
import gc
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SWITCH = 0.0002
"""Seconds after which a thread that reads a policy must let decisions go on."""


@contextlib.contextmanager
def unobtrusive() -> Iterator[None]:
    """Let the event loop have the interpreter soon whenever it wants it back from a thread.

    Decisions share the interpreter's lock with whatever a thread computes: by default they get it
    back after 5 ms, or after a whole collection of all that a large policy is made of.
    """
    interval, collecting = sys.getswitchinterval(), gc.isenabled()
    sys.setswitchinterval(SWITCH)
    gc.disable()
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        if collecting:
            gc.enable()
