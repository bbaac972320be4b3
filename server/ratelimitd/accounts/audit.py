"""The audit log: who did what to whose key, before and after.

A line holds subjects and never keys, and is JSON in ASCII, so that no value forges one.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ratelimitd.model import Subject

_LOG = logging.getLogger("ratelimitd.audit")


def tell(
    who: str,
    what: str,
    subject: Subject,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
) -> None:
    """Write one line."""
    facts = {"who": who, "what": what, "subject": subject.hex()}
    told = {name: json.dumps(value) for name, value in (("before", before), ("after", after))}
    _LOG.info("a key was administered", extra={**facts, **told})
