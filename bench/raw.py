"""Load by HTTP/2 frames made beforehand: a generator that costs a fraction of what it measures.

A gRPC client in Python takes several times the CPU of a decision, so that on a machine of few cores
the client would be what is measured. Here a call is a part of one `send` of bytes that exist
already, and an answer is three frame heads; what they say is not read (`bench.request.verify` asks
before and after with a real client), but can be kept. A reset stream, a GOAWAY, or an answer
without a message is an error.
"""

from __future__ import annotations

import contextlib
import itertools
import selectors
import socket
import struct
import time
from typing import TYPE_CHECKING, NamedTuple

import hpack

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY = 0, 1, 3, 4, 6, 7
_ACK = _END_STREAM = 1
_HEAD = struct.Struct(">HBBBI")
_WINDOW = 2**31 - 1
_TOLD = 1 << 24
"""Bytes of messages after which the peer is told that there is room for as much again."""
SECONDS = 120.0
"""What a load takes at the most."""


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return _HEAD.pack(len(payload) >> 8, len(payload) & 255, kind, flags, stream) + payload


class Connection:
    """One connection with a bounded number of calls under way."""

    def __init__(self, target: str, path: str, *, keep: bool) -> None:
        """Connect to HOST:PORT, and say that answers need not wait for window updates.

        `keep`: also keep the answers' messages.
        """
        host, _, port = target.rpartition(":")
        self.sock = socket.create_connection((host, int(port)), timeout=10)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        settings = struct.pack(">HI", 4, _WINDOW)
        room = struct.pack(">I", _WINDOW - 65_535)
        self.sock.sendall(_PREFACE + _frame(_SETTINGS, 0, 0, settings) + _frame(8, 0, 0, room))
        self.sock.setblocking(False)
        headers = [(":method", "POST"), (":scheme", "http"), (":path", path)]
        headers += [(":authority", target), ("content-type", "application/grpc")]
        headers += [("te", "trailers")]
        encoder = hpack.Encoder()
        encoder.header_table_size = 0
        self._headers = bytes(encoder.encode(headers))
        self._keep = keep
        self._stream = -1
        self._began: dict[int, int] = {}
        self._answered: set[int] = set()
        self._unread, self._unsent = b"", b""
        self._taken = 0
        self.latencies: list[int] = []
        """Microseconds of each call that was answered."""
        self.answers: list[bytes] = []
        """Their messages, each with gRPC's prefix, in any order."""

    def begin(self, bodies: Iterable[bytes]) -> None:
        """Send a call for each body."""
        now = time.perf_counter_ns()
        parts = [self._unsent]
        for body in bodies:
            self._stream += 2
            self._began[self._stream] = now
            parts.append(_frame(_HEADERS, 4, self._stream, self._headers))
            parts.append(_frame(_DATA, _END_STREAM, self._stream, body))
        self._flush(b"".join(parts))

    def _flush(self, unsent: bytes) -> None:
        with contextlib.suppress(BlockingIOError):
            unsent = unsent[self.sock.send(unsent) :] if unsent else unsent
        self._unsent = unsent

    def read(self) -> int:
        """Take in what has come; return how many calls were answered by it."""
        if self._unsent:
            self._flush(self._unsent)
        got = self.sock.recv(1 << 18)
        if not got:
            msg = "the server closed the connection"
            raise RuntimeError(msg)
        data, at, done, now = self._unread + got, 0, 0, time.perf_counter_ns()
        while len(data) - at >= _HEAD.size:
            high, low, kind, flags, stream = _HEAD.unpack_from(data, at)
            end = at + _HEAD.size + (high << 8 | low)
            if end > len(data):
                break
            if kind == _DATA:
                self._answered.add(stream)
                self._taken += end - at
                if self._keep and end - at > _HEAD.size:
                    self.answers.append(data[at + _HEAD.size : end])
            elif kind != _HEADERS:
                self._control(kind, flags, data[at + _HEAD.size : end])
            if flags & _END_STREAM and kind <= _HEADERS:
                self._answered.remove(stream)  # KeyError: it ended without a message
                self.latencies.append((now - self._began.pop(stream)) // 1000)
                done += 1
            at = end
        self._unread = data[at:]
        return done

    def _control(self, kind: int, flags: int, payload: bytes) -> None:
        if kind in (_RESET, _GOAWAY):
            msg = f"the server ended {'a call' if kind == _RESET else 'the connection'}"
            raise RuntimeError(f"{msg}: {payload[:64]!r}")
        if kind in (_SETTINGS, _PING) and not flags & _ACK:
            answer = payload if kind == _PING else b""
            self._flush(self._unsent + _frame(kind, _ACK, 0, answer))
        if self._taken > _TOLD:
            self._flush(self._unsent + _frame(8, 0, 0, struct.pack(">I", self._taken)))
            self._taken = 0


class Driven(NamedTuple):
    """What came of a load."""

    latencies: list[int]
    """Microseconds of each call."""
    answers: list[bytes]
    """The messages, each with gRPC's prefix, in any order; empty where they were not kept."""


def drive(
    target: str,
    path: str,
    bodies: Sequence[bytes],
    connections: int,
    streams: int,
    *,
    keep: bool = False,
) -> Driven:
    """Make a call of each body, `streams` at once on each connection."""
    left = iter(bodies)
    with selectors.DefaultSelector() as selector:
        every = [Connection(target, path, keep=keep) for _ in range(connections)]
        try:
            for each in every:
                selector.register(each.sock, selectors.EVENT_READ, each)
                each.begin(itertools.islice(left, streams))
            answered, until = 0, time.monotonic() + SECONDS
            while answered < len(bodies):
                if time.monotonic() > until:
                    msg = f"only {answered} of {len(bodies)} calls were answered"
                    raise RuntimeError(msg)
                for key, _ in selector.select(timeout=1):
                    done = key.data.read()
                    answered += done
                    key.data.begin(itertools.islice(left, done))
        finally:
            for each in every:
                each.sock.close()
    latencies = [microseconds for each in every for microseconds in each.latencies]
    return Driven(latencies, [answer for each in every for answer in each.answers])
