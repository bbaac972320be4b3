"""One spelling of identities: subjects from API keys, counter families and keys from limits.

Owns hashing and escaping, so that no two descriptors can share a counter and no API key is ever
stored. Knows nothing of stores; the secret is handed in.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from hmac import compare_digest
from typing import TYPE_CHECKING

from ratelimitd.model import Limit, Subject

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST_VALUE = 1024
"""An entry's value over this many UTF-8 bytes is replaced by a keyed digest of itself."""
HASH_PATTERN = r"[0-9A-Fa-f]{32}"
"""How a subject is spelled where people and programs write one."""
DEVELOPMENT_SECRET = b"ratelimitd-development-secret-do-not-use"
"""Published, so it protects nothing: for loopback and for `check` only."""

_LONGEST_KEY = 96
_SUBJECT = re.compile(HASH_PATTERN)
_ABSENT = b"~"
_ESCAPES = {byte: b"%%%02X" % byte for byte in (*range(33), *b"%|,=~#@*", *range(127, 256))}
_PLAIN = bytes(byte for byte in range(256) if byte not in _ESCAPES)


def to_bytes(value: str) -> bytes:
    """Return the bytes a value was sent as; lone surrogates stand for bytes that are not UTF-8."""
    return value.encode("utf-8", "surrogateescape")


def too_long(value: str) -> bool:
    """Say whether a value is over `LONGEST_VALUE` bytes, so that no rule gets to see it."""
    return len(value) * 4 > LONGEST_VALUE and len(to_bytes(value)) > LONGEST_VALUE


def escape(value: bytes) -> bytes:
    """Return printable ASCII that no other value shares and that contains no separator."""
    if not value.translate(None, _PLAIN):
        return value
    return b"".join(_ESCAPES.get(byte) or bytes((byte,)) for byte in value)


def read_subject(text: str) -> Subject | None:
    """Return the subject that 32 hexadecimal digits spell; None for anything else."""
    return Subject(bytes.fromhex(text)) if _SUBJECT.fullmatch(text) else None


class Hasher:
    """Turns API keys and addresses into subjects with a secret (BLAKE2b, RFC 7693, 128 bits)."""

    __slots__ = ("_older", "_secret")

    def __init__(self, secret: bytes, *older: bytes) -> None:
        """Hash with `secret`; keys hashed with an older one are still found."""
        if not secret or not all(older):
            msg = "a secret is empty"
            raise ValueError(msg)
        self._secret = secret if len(secret) <= blake2b.MAX_KEY_SIZE else blake2b(secret).digest()
        self._older = tuple(Hasher(each) for each in older)

    def __repr__(self) -> str:
        """Never show the secret."""
        return "Hasher(secret=…)"

    def _digest(self, purpose: bytes, value: bytes) -> bytes:
        return blake2b(value, digest_size=16, key=self._secret, person=purpose).digest()

    def sign(self, message: bytes) -> bytes:
        """Return the signature of something of ours that others carry, 16 bytes."""
        return self._digest(b"ticket", message)

    def has_signed(self, message: bytes, signature: bytes) -> bool:
        """Say whether this secret, or an older one, made the signature."""
        return compare_digest(self.sign(message), signature) or any(
            hasher.has_signed(message, signature) for hasher in self._older
        )

    def key(self, api_key: str) -> Subject:
        """Return the subject of an API key."""
        return Subject(self._digest(b"key", to_bytes(api_key)))

    def older(self, api_key: str) -> tuple[Subject, ...]:
        """Return the subjects that the key has under older secrets."""
        return tuple(hasher.key(api_key) for hasher in self._older)

    def address(self, address: str | None) -> Subject:
        """Return the subject of a caller without a key: one per address, one for all without."""
        if address is None:
            return Subject(self._digest(b"nobody", b""))
        return Subject(self._digest(b"address", to_bytes(address)))

    def bounded_value(self, value: str) -> str:
        """Return the value, or a keyed digest of it where it is over `LONGEST_VALUE` bytes."""
        if not too_long(value):
            return value
        return "digest:" + self._digest(b"value", to_bytes(value)).hex()

    def counter_key(self, values: Sequence[str | bytes | None]) -> bytes:
        """Spell the values of a limit's `per`, in its order; absent (None) is not empty.

        A subject (bytes) that stands alone is its own key. What would be long becomes a digest.
        """
        if len(values) == 1 and isinstance(values[0], bytes):
            return values[0]
        spelled = b"|".join(map(_spell, values))
        if len(spelled) <= _LONGEST_KEY:
            return spelled
        return b"#" + self._digest(b"counter", spelled)


def _spell(value: str | bytes | None) -> bytes:
    if value is None:
        return _ABSENT
    if isinstance(value, bytes):
        return b"@" + value.hex().encode()
    return escape(to_bytes(value))


def family(domain: str, limit: Limit) -> str:
    """Spell the identity of a limit's counters, without the values that tell them apart.

    `domain|meter|window|algorithm|when|per`, each part escaped. Never the tier, the amount, the
    order of conditions or of the file.
    """
    window = limit.window.name if limit.window else ""
    when = b",".join(
        escape(name.encode()) + b"=" + escape(to_bytes(pattern))
        for name, pattern in sorted(limit.when)
    )
    parts = (
        escape(domain.encode("utf-8", "surrogateescape")),
        escape(limit.meter.name.encode()),
        escape(window.encode()),
        limit.algorithm.value.encode(),
        when,
        b",".join(escape(name.encode()) for name in limit.per),
    )
    return b"|".join(parts).decode()
