"""Ids that nobody can guess, for leases: made many at a time, because each costs a system call."""

from __future__ import annotations

import base64
import secrets

_BYTES = 18
"""Of chance in an id: 144 bits, and 24 characters without padding."""
_AT_ONCE = 128


class Ids:
    """Makes ids. Not to be shared with a forked process."""

    def __init__(self) -> None:
        self._left: list[str] = []

    def new(self) -> str:
        """Return an id, safe in headers and URLs."""
        if not self._left:
            text = base64.urlsafe_b64encode(secrets.token_bytes(_BYTES * _AT_ONCE)).decode()
            self._left = [text[at : at + 24] for at in range(0, len(text), 24)]
        return self._left.pop()
