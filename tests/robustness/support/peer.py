"""A peer that sends what it likes, at up to 1 MB/s, and notes what it gets."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from typing import TYPE_CHECKING, Final

import hpack

from tests.robustness.support.frames import GOAWAY, HEAD, HEADERS, RST

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

RATE: Final = 1_000_000
"""Bytes a second of one peer, at the most."""
TICK: Final = 0.002
_UNSENT: Final = 256 << 10
_NOTED: Final = (GOAWAY, HEADERS, RST)
_SETTLED: Final = 0.2
"""Seconds in which whatever follows an answer has come."""


@dataclasses.dataclass(slots=True)
class Peer:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    resets: dict[int, int] = dataclasses.field(default_factory=dict)
    """Stream to the code it was reset with."""
    goaway: int | None = None
    closed: bool = False
    sent: int = 0
    fields: dict[str, str] = dataclasses.field(default_factory=dict)
    """What headers and trailers said, of all streams."""
    decodes: bool = True
    """Whether headers are of interest."""
    reading: asyncio.Task[None] | None = None
    _news: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    _decoder: hpack.Decoder = dataclasses.field(default_factory=hpack.Decoder)

    @property
    def is_cut_off(self) -> bool:
        """Whether the server has ended the connection, or has said that it does."""
        return self.closed or self.goaway is not None

    def send(self, data: bytes) -> None:
        """Write, unless the connection is over."""
        if not self.closed and not self.writer.transport.is_closing():
            self.writer.write(data)

    async def flood(self, units: Iterator[bytes], seconds: float) -> int:
        """Send units for some time, or until the server has had enough; return their bytes."""
        began = time.monotonic()
        spent = 0
        while (now := time.monotonic() - began) < seconds and not self.is_cut_off:
            chunk = bytearray()
            if self.writer.transport.get_write_buffer_size() < _UNSENT:
                # A whole tick's share at once, and never what was missed before: no burst is more.
                due = min(now * RATE - spent, RATE * TICK * 2)
                while len(chunk) < due:
                    chunk += next(units)
                    self.sent += 1
            spent += len(chunk)
            self.send(bytes(chunk))
            await asyncio.sleep(TICK)
        return spent

    async def outcome(self, seconds: float) -> str:
        """Return what came first: an answer, a reset, the end of the connection, or nothing."""
        await self._until(lambda: bool(self.fields or self.resets or self.is_cut_off), seconds)
        await asyncio.sleep(_SETTLED)
        if self.is_cut_off:
            return "closed"
        if status := self.fields.get("grpc-status"):
            return f"grpc {status}"
        if self.fields:
            return f"http {self.fields[':status']}"
        return "reset" if self.resets else "silence"

    async def until_answered(self, seconds: float) -> None:
        """Wait for a gRPC status, or the end of the connection."""
        await self._until(lambda: self.closed or "grpc-status" in self.fields, seconds)

    async def closed_within(self, seconds: float) -> bool:
        """Say whether the connection is over in time, whoever ended it."""
        await self._until(lambda: self.closed, seconds)
        return self.closed

    async def cut_off_within(self, seconds: float) -> bool:
        """Say whether the server ends the connection in time."""
        await self._until(lambda: self.is_cut_off, seconds)
        return self.is_cut_off

    async def _until(self, holds: Callable[[], bool], seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not holds():
                    self._news.clear()
                    await self._news.wait()

    def start_reading(self) -> None:
        """Take what the server sends, from now on."""
        self.reading = self.reading or asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        """Note every frame until the end of the connection."""
        rest = bytearray()
        with contextlib.suppress(OSError):
            while data := await self.reader.read(_UNSENT):
                rest += data
                self._take(rest)
                self._news.set()
        self.closed = True
        self._news.set()

    def _take(self, rest: bytearray) -> None:
        """Note the frames that are whole; what a flood gets back must cost little to read."""
        at = 0
        while len(rest) >= (body := at + HEAD) and len(rest) >= (
            end := body + int.from_bytes(rest[at : at + 3])
        ):
            if (kind := rest[at + 3]) in _NOTED:
                stream = int.from_bytes(rest[at + 5 : body]) & 0x7FFF_FFFF
                self._note(kind, stream, bytes(rest[body:end]))
            at = end
        del rest[:at]

    def _note(self, kind: int, stream: int, payload: bytes) -> None:
        if kind == GOAWAY:
            self.goaway = int.from_bytes(payload[4:8])
        elif kind == RST:
            self.resets[stream] = int.from_bytes(payload)
        elif kind == HEADERS and self.decodes:
            self.fields.update(
                (str(name), str(value)) for name, value in self._decoder.decode(payload)
            )


@contextlib.asynccontextmanager
async def connected(address: str, hello: bytes = b"", *, reads: bool = True) -> AsyncIterator[Peer]:
    """Connect, and say `hello`."""
    host, _, port = address.rpartition(":")
    peer = Peer(*await asyncio.open_connection(host, int(port)))
    peer.send(hello)
    if reads:
        peer.start_reading()
    try:
        yield peer
    finally:
        if peer.reading:
            peer.reading.cancel()
            await asyncio.wait({peer.reading})
        peer.writer.transport.abort()
