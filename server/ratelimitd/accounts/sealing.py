"""What of an alert is encrypted at rest: where its events go, and the secret that signs them.

AES-GCM (NIST SP 800-38D) under a key of the process's secrets (HKDF-SHA256, RFC 5869): the first
seals, all open. What is sealed is bound to its alert and subject, so that nobody who can write to
the store moves it to another alert.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ratelimitd.model import Subject

_PURPOSE: Final = b"ratelimitd alerts 1"
_VERSION: Final = b"\x01"
_NONCE: Final = 12
_KEY: Final = 32


class Hook(NamedTuple):
    """What is sealed, in the clear."""

    url: str
    secret: str
    """`whsec_…`."""


class Sealer:
    """Seals and opens with the process's secrets."""

    def __init__(self, secrets: Iterable[bytes]) -> None:
        """Seal with the first of `secrets`, which are at least one."""
        self._ciphers = [AESGCM(_derived(secret)) for secret in secrets]

    def __repr__(self) -> str:
        """Never show a key."""
        return "Sealer(…)"

    def seal(self, alert: str, subject: Subject, hook: Hook) -> bytes:
        """Return what is kept of an alert's hook."""
        nonce = os.urandom(_NONCE)
        said = json.dumps(hook).encode()
        return _VERSION + nonce + self._ciphers[0].encrypt(nonce, said, _bound(alert, subject))

    def open(self, alert: str, subject: Subject, sealed: bytes) -> Hook | None:
        """Return the hook; None where its secret is gone, or it is another's or no hook at all."""
        if not sealed.startswith(_VERSION):
            return None
        nonce, text = sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :]
        for cipher in self._ciphers:
            try:
                return Hook(*json.loads(cipher.decrypt(nonce, text, _bound(alert, subject))))
            except (InvalidTag, ValueError):
                continue
        return None


def _derived(secret: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=_KEY, salt=None, info=_PURPOSE).derive(secret)


def _bound(alert: str, subject: Subject) -> bytes:
    return b"%b|%b" % (subject, alert.encode())
