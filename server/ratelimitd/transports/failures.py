"""How a servicer's own failure is told: to operators without what was asked, to callers not at all.

An exception's text may quote a request (a `KeyError` is its key), so only its kind and where it was
raised are logged.
"""

from __future__ import annotations

import logging
import traceback

_LOG = logging.getLogger(__name__)
DETAILS = "internal error"
"""The status message of a call whose servicer failed (UNKNOWN)."""


def log_failure(error: BaseException, event: str = "a servicer failed") -> None:
    """Log one record about an exception that nobody handled."""
    frames = traceback.extract_tb(error.__traceback__)
    where = " > ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames)
    _LOG.error(event, extra={"error": _kinds(error), "where": where})


def _kinds(error: BaseException) -> str:
    """Return the names of an exception's class and of those that it came from."""
    names = [type(error).__name__]
    while (cause := error.__cause__ or error.__context__) is not None:
        names.append(type(cause).__name__)
        error = cause
    return " from ".join(names)
