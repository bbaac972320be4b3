"""What a peer can send without end: each flood is a beginning and units that never stop.

Or connections that never stop, each with one unit.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Final

from tests.robustness.support import frames
from tests.robustness.support.frames import END_HEADERS, END_STREAM, frame, headers, number
from tests.robustness.support.malformed import MALFORMED
from tests.rpc.support.raw_http2 import grpc_headers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

UNKNOWN: Final = frames.block(grpc_headers("/no.Service/Method"))
COOKIE: Final = 4_000
"""Bytes of a field that stands in the table once, and is named by one byte ever after."""
REFERENCES: Final = 4_000
_AT_ONCE: Final = 10


@dataclasses.dataclass(frozen=True, slots=True)
class Flood:
    """One class of attack."""

    units: Callable[[], Iterator[bytes]]
    frames: int = 1
    """In each unit."""
    begin: bytes = b""
    reads: bool = True
    """Whether the peer reads what comes back."""
    apart: bool = False
    """Each unit, whole with its beginning, goes on a connection of its own."""


def _always(unit: bytes, *, begin: bytes = b"", reads: bool = True) -> Flood:
    """Return the flood of one small frame, some at a time so that it costs little to make."""
    return Flood(lambda: itertools.repeat(unit * _AT_ONCE), _AT_ONCE, begin, reads)


def _streams(make: Callable[[int], bytes]) -> Callable[[], Iterator[bytes]]:
    """Return units that each begin a stream of their own."""
    return lambda: map(make, itertools.count(1, 2))


def _bomb() -> bytes:
    """Return a sound call's headers, a large field for the table, and that field over and over."""
    field = b"\x40\x01c\x7f" + _length(COOKIE) + b"v" * COOKIE
    return frames.CALL + field + b"\xbe" * REFERENCES


def _length(value: int) -> bytes:
    """Return what follows a length prefix of seven bits that are all set."""
    rest, octets = value - 127, bytearray()
    while rest >= 128:
        octets.append(rest % 128 + 128)
        rest //= 128
    return bytes([*octets, rest])


_WITHOUT_END: Final = headers(1, flags=0)
_BURST: Final = frame(frames.SETTINGS) * 1_500
"""At once: Envoy bounds what it has yet to acknowledge, which of an even flood is nothing."""
_CONTINUATION: Final = frame(frames.CONTINUATION, 0, 1, b"\x00\x01x\x01y" * 100)
FLOODS: Final[dict[str, Flood]] = {
    "ping": _always(frame(frames.PING, payload=bytes(8))),
    "ping, unread": _always(frame(frames.PING, payload=bytes(8)), reads=False),
    "settings": _always(frame(frames.SETTINGS), begin=_BURST),
    "settings, unread": _always(frame(frames.SETTINGS), begin=_BURST, reads=False),
    "priority": Flood(_streams(lambda s: frame(frames.PRIORITY, 0, s, number(0) + b"\1"))),
    "window update": _always(frame(frames.WINDOW, payload=number(1))),
    "empty data": _always(frame(frames.DATA, 0, 1), begin=headers(1)),
    "empty headers": Flood(_streams(lambda s: headers(s, b"", END_HEADERS | END_STREAM))),
    "empty continuation": _always(frame(frames.CONTINUATION, 0, 1), begin=_WITHOUT_END),
    "continuation": Flood(lambda: itertools.repeat(_CONTINUATION), begin=_WITHOUT_END),
    "rapid reset": Flood(
        _streams(lambda s: headers(s) + frame(frames.RST, 0, s, number(8))), frames=2
    ),
    "made you reset": Flood(
        _streams(lambda s: headers(s) + frame(frames.WINDOW, 0, s, number(0))), frames=2
    ),
    "streams without end": Flood(_streams(headers)),
    "unknown methods": Flood(_streams(lambda s: headers(s, UNKNOWN, END_HEADERS | END_STREAM))),
    "unknown methods, unread": Flood(
        _streams(lambda s: headers(s, UNKNOWN, END_HEADERS | END_STREAM)), reads=False
    ),
    "header bomb": Flood(_streams(lambda s: headers(s, _bomb(), END_HEADERS | END_STREAM))),
    "unknown frames": _always(frame(0xFA, payload=b"whatever")),
    "goaway": _always(frame(frames.GOAWAY, payload=bytes(8))),
    "malformed peers": Flood(lambda: itertools.cycle(MALFORMED.values()), apart=True),
}
