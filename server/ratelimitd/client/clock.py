"""The client's clock: it measures how long something takes, and tells no time of day."""

from __future__ import annotations

from time import monotonic

__all__ = ["monotonic"]
