"""How limits count: one pure module per algorithm, named as policy files name it.

Each has `judge` (does it fit, and when would it) and, where counts are numbers, `add` (the state
after hits). They read no clock and keep nothing: state and time are parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ratelimitd.algorithms import fixed_window, lease, sliding_window, token_bucket
from ratelimitd.model import Algorithm

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["REGISTRY"]

REGISTRY: dict[Algorithm, ModuleType] = {
    Algorithm.FIXED_WINDOW: fixed_window,
    Algorithm.SLIDING_WINDOW: sliding_window,
    Algorithm.TOKEN_BUCKET: token_bucket,
    Algorithm.LEASE: lease,
}
"""Every algorithm and the module that is it."""
