"""Python's garbage collector, which nothing on a hot path may need: it stops everybody."""

from __future__ import annotations

import contextlib
import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def no_collector() -> Iterator[None]:
    """Turn it off, with nothing left for it to do."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
