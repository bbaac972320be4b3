"""HTTP/2 frames by hand: also those that no library makes."""

from __future__ import annotations

import struct
from typing import Final

import hpack

from tests.rpc.support.calls import METHOD
from tests.rpc.support.raw_http2 import Pairs, grpc_headers

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
HEAD: Final = 9
"""Bytes before a payload."""
ACK: Final = 1
END_STREAM: Final = 1
END_HEADERS: Final = 4
PADDED: Final = 8
HELLO: Final = PREFACE + b"\0\0\0\x04\0\0\0\0\0"
"""The preface and empty SETTINGS: a sound beginning."""


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """Return one frame."""
    return struct.pack(">HBBBI", len(payload) >> 8, len(payload) & 255, kind, flags, stream) + (
        payload
    )


def block(headers: Pairs) -> bytes:
    """Return a header block that leaves nothing in the peer's table."""
    encoder = hpack.Encoder()
    encoder.header_table_size = 0
    return bytes(encoder.encode(headers))


CALL: Final = block(grpc_headers(METHOD))
"""The headers of a sound call."""


def headers(stream: int, fragment: bytes = CALL, flags: int = END_HEADERS) -> bytes:
    """Return a HEADERS frame."""
    return frame(HEADERS, flags, stream, fragment)


def number(value: int) -> bytes:
    """Return 32 bits."""
    return struct.pack(">I", value)


def streams(count: int, first: int = 1) -> range:
    """Return the numbers of a client's streams."""
    return range(first, first + 2 * count, 2)
