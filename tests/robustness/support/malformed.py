"""What no sound peer sends, once: each is bytes on a connection of its own.

The names follow gRPC core's `bad_client` tests and tools/http2_interop where those have the case.
"""

from __future__ import annotations

from typing import Final

from tests.robustness.support import frames
from tests.robustness.support.frames import (
    ACK,
    CALL,
    END_HEADERS,
    END_STREAM,
    HELLO,
    PADDED,
    PREFACE,
    frame,
    headers,
    number,
)
from tests.rpc.support.calls import METHOD, one
from tests.rpc.support.raw_http2 import Pairs, grpc_headers

QUESTION: Final = one("api_key=a").SerializeToString()
MESSAGE: Final = frame(frames.DATA, END_STREAM, 1, b"\0" + len(QUESTION).to_bytes(4) + QUESTION)

_PART: Final = 16_000


def _settings(name: int, value: int) -> bytes:
    return frame(frames.SETTINGS, payload=name.to_bytes(2) + number(value))


def _call(pairs: Pairs) -> bytes:
    block = frames.block(pairs)
    parts = [block[at : at + _PART] for at in range(0, len(block), _PART)]
    kinds = [frames.HEADERS] + [frames.CONTINUATION] * len(parts)
    flags = [0] * (len(parts) - 1) + [END_HEADERS]
    sent = (
        frame(kind, flag, 1, part) for kind, flag, part in zip(kinds, flags, parts, strict=False)
    )
    return HELLO + b"".join(sent) + MESSAGE


def _with(*pairs: tuple[str, str], **changes: str | None) -> bytes:
    return _call([*grpc_headers(METHOD, **changes), *pairs])


NO_TEXT: Final = (
    HELLO
    + headers(1, frames.block(grpc_headers(METHOD, **{":path": None})) + b"\x00\x05:path\x03/\xb5w")
    + MESSAGE
)
"""A sound call but for its path, which is no UTF-8."""

SHORT_PREFACES: Final = tuple(PREFACE[:length] + b"X" for length in range(1, len(PREFACE)))
"""Every prefix of the preface, and then something else."""

MALFORMED: Final[dict[str, bytes]] = {
    # Beginnings
    "HTTP/1.1": b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "no settings": PREFACE + headers(1) + MESSAGE,
    "preface twice": HELLO + PREFACE + headers(1),
    # Frames
    "frame over 16 KiB": HELLO + frame(frames.DATA, 0, 1, bytes(70_000)),
    "unknown frame": HELLO + frame(0xFA, 0, 0, b"xx") + headers(1) + MESSAGE,
    "ping of 7 bytes": HELLO + frame(frames.PING, payload=bytes(7)),
    "ping on a stream": HELLO + frame(frames.PING, 0, 1, bytes(8)),
    "settings of 5 bytes": HELLO + frame(frames.SETTINGS, payload=bytes(5)),
    "settings on a stream": HELLO + frame(frames.SETTINGS, 0, 1),
    "settings ack with a payload": HELLO + frame(frames.SETTINGS, ACK, 0, bytes(6)),
    "settings: window over 2^31": HELLO + _settings(4, 1 << 31),
    "settings: frames of 1 byte": HELLO + _settings(5, 1),
    "window update of 0": HELLO + frame(frames.WINDOW, payload=number(0)),
    "window over 2^31": HELLO + frame(frames.WINDOW, payload=number(2**31 - 1)) * 2,
    "push promise": HELLO + frame(frames.PUSH, END_HEADERS, 1, number(2) + CALL),
    "goaway on a stream": HELLO + frame(frames.GOAWAY, 0, 1, bytes(8)),
    # Streams
    "headers on stream 0": HELLO + headers(0),
    "data on stream 0": HELLO + frame(frames.DATA, 0, 0, b"x"),
    "even stream": HELLO + headers(2),
    "stream number going back": HELLO + headers(5) + headers(3),
    "data on an idle stream": HELLO + frame(frames.DATA, 0, 1, b"x"),
    "reset of an idle stream": HELLO + frame(frames.RST, 0, 1, number(8)),
    "window update of an idle stream": HELLO + frame(frames.WINDOW, 0, 1, number(9)),
    "headers after the end": HELLO + headers(1) + MESSAGE + headers(1) + MESSAGE,
    "padding over the frame": HELLO
    + frame(frames.HEADERS, END_HEADERS | PADDED, 1, b"\xff" + CALL),
    # Header blocks
    "continuation alone": HELLO + frame(frames.CONTINUATION, END_HEADERS, 1, CALL),
    "ping within a block": HELLO + headers(1, flags=0) + frame(frames.PING, payload=bytes(8)),
    "index beyond the table": HELLO + headers(1, b"\xff\xff\x7f"),
    "index 0": HELLO + headers(1, b"\x80"),
    "Huffman without end": HELLO + headers(1, CALL + b"\x00\x81\xff\x81\xff"),
    "table of 1 GB": HELLO + headers(1, b"\x3f\xe1\xff\xff\xff\x03" + CALL),
    "integer without end": HELLO + headers(1, b"\x7f" + b"\xff" * 20),
    # Requests
    "no path": _with(**{":path": None}),
    "no method": _with(**{":method": None}),
    "path twice": _call([(":path", "/a"), *grpc_headers(METHOD)]),
    "pseudo header last": _with((":path", "/a")),
    "unknown pseudo header": _call([(":x", "a"), *grpc_headers(METHOD)]),
    "upper-case name": _with(("X-A", "1")),
    "connection: close": _with(("connection", "close")),
    "transfer-encoding": _with(("transfer-encoding", "chunked")),
    "line break in a value": _with(("x-a", "a\r\nb: c")),
    "nul in a value": _with(("x-a", "a\0b")),
    "empty name": _with(("", "a")),
    "lying content-length": _with(("content-length", "3")),
    "96 KiB of headers": _with(*((f"x-{index}", "a" * 8_000) for index in range(12))),
    "200 KiB of headers": _with(*((f"x-{index}", "a" * 8_000) for index in range(25))),
    "800 KiB of headers": _with(*((f"x-{index}", "a" * 8_000) for index in range(100))),
    "100 headers": _with(*((f"x-{index}", "1") for index in range(100))),
    "400 headers": _with(*((f"x-{index}", "1") for index in range(400))),
}
