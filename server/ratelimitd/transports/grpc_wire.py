"""gRPC over HTTP/2 as bytes: message frames, timeouts, statuses, metadata. Pure.

After "gRPC over HTTP2" (PROTOCOL-HTTP2 of the gRPC project). Knows no server and no servicer.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import grpc

PREFIX = 5
"""Bytes before each message: one compression flag, four of length."""

UNREADABLE = "the bytes are no message of this method"
"""What a peer is told whose message cannot be parsed."""

_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_LONGEST_TIMEOUT = 9  # at most 8 digits and a unit
_UNESCAPED = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")

Pair = tuple[bytes, bytes]


class MalformedError(Exception):
    """Expected: a peer does not speak gRPC as it should. The peer must act; ends as INTERNAL."""


class CompressedError(Exception):
    """Expected: a compressed message, which this server does not take. Ends as UNIMPLEMENTED."""


class OversizedError(Exception):
    """Expected: a message over the bound. The peer must act; ends as RESOURCE_EXHAUSTED."""


def frame(message: bytes) -> bytes:
    """Return an uncompressed message with its prefix."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def only_message(body: bytes) -> bytes:
    """Return the message of a unary call's body, which must hold exactly one."""
    if len(body) < PREFIX:
        msg = "a unary call needs exactly one message"
        raise MalformedError(msg)
    if body[0]:
        msg = "compressed messages are not taken; send identity"
        raise CompressedError(msg)
    if int.from_bytes(body[1:PREFIX], "big") != len(body) - PREFIX:
        msg = "a message's length does not match its prefix"
        raise MalformedError(msg)
    return body[PREFIX:]


class Deframer:
    """Cuts a stream of body bytes into messages, each of at most `largest` bytes."""

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes; return the messages they complete."""
        buffer = self._buffer
        buffer += data
        messages = []
        while len(buffer) >= PREFIX:
            if buffer[0]:
                msg = "compressed messages are not taken; send identity"
                raise CompressedError(msg)
            length = int.from_bytes(buffer[1:PREFIX], "big")
            if length > self._largest:
                msg = f"a message of {length} bytes; at most {self._largest}"
                raise OversizedError(msg)
            if len(buffer) < PREFIX + length:
                break
            messages.append(bytes(buffer[PREFIX : PREFIX + length]))
            del buffer[: PREFIX + length]
        return messages

    def finish(self) -> None:
        """Say that the body has ended; it must not end within a message."""
        if self._buffer:
            msg = "the body ends within a message"
            raise MalformedError(msg)


def timeout_seconds(value: bytes) -> float:
    """Return a `grpc-timeout` header in seconds. Raises `MalformedError`."""
    digits, unit = value[:-1], _UNITS.get(value[-1:])
    if unit is None or not digits.isdigit() or len(value) > _LONGEST_TIMEOUT:
        msg = "grpc-timeout is not up to eight digits and one of H M S m u n"
        raise MalformedError(msg)
    return int(digits) * unit


def status_pairs(code: grpc.StatusCode, details: str, trailing: Iterable[Pair] = ()) -> list[Pair]:
    """Return the trailers that end a call; the message is percent-encoded UTF-8."""
    pairs = [(b"grpc-status", b"%d" % code.value[0])]
    if details:
        text = details.encode("utf-8", "replace")
        pairs.append((b"grpc-message", quote(text, safe=_UNESCAPED).encode()))
    pairs.extend(trailing)
    return pairs


def encode_metadata(metadata: Iterable[Sequence[str | bytes]]) -> list[Pair]:
    """Return custom metadata as header pairs; values of `-bin` keys are base64."""
    return [(_key(key), _encoded(_key(key), value)) for key, value in metadata]


def decode_metadata(headers: Iterable[Pair]) -> tuple[tuple[str, str | bytes], ...]:
    """Return a call's custom metadata from its headers. Raises `MalformedError`."""
    return tuple(
        (name.decode("latin-1"), each)
        for name, value in headers
        if not name.startswith((b":", b"grpc-")) and name not in (b"te", b"content-type")
        for each in _decoded(name, value)
    )


def _key(key: str | bytes) -> bytes:
    return key.encode() if isinstance(key, str) else key


def _encoded(key: bytes, value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return base64.b64encode(raw).rstrip(b"=") if key.endswith(b"-bin") else raw


def _decoded(key: bytes, value: bytes) -> list[str | bytes]:
    """Return the values of a header: proxies may join those of binary keys with commas."""
    if not key.endswith(b"-bin"):
        return [value.decode("latin-1")]
    try:
        return [_binary(part.strip()) for part in value.split(b",")]
    except ValueError:
        msg = f"metadata {key.decode('latin-1')} is not base64"
        raise MalformedError(msg) from None


def _binary(text: bytes) -> bytes:
    return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
