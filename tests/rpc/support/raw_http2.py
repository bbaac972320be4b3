"""HTTP/2 as no gRPC client speaks it: a test says which headers, which frames, and when."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import h2.config
import h2.connection
import h2.events
import h2.settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

Pairs = list[tuple[str, str]]
_PATIENCE = 10.0


def grpc_headers(path: str, **changes: str | None) -> Pairs:
    """Return a sound call's headers; a change of None leaves one out (`_` stands for `-`)."""
    headers: dict[str, str | None] = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "test",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    headers.update({name.replace("_", "-"): value for name, value in changes.items()})
    return [(name, value) for name, value in headers.items() if value is not None]


@dataclass(slots=True)
class Reply:
    """What came back on one stream."""

    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    trailers: dict[str, str] = field(default_factory=dict)
    ended: bool = False
    reset: int | None = None

    @property
    def status(self) -> int:
        """The HTTP status; 0 before one came."""
        return int(self.headers.get(":status", "0"))

    @property
    def grpc(self) -> int | None:
        """The gRPC status, in trailers or (trailers-only) in the headers."""
        found = self.trailers.get("grpc-status", self.headers.get("grpc-status"))
        return None if found is None else int(found)

    @property
    def message(self) -> str:
        """The gRPC status message as sent."""
        return self.trailers.get("grpc-message", self.headers.get("grpc-message", ""))


class Wire:
    """One connection. Requests are sent at once as far as flow control lets them."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http2 = h2.connection.H2Connection(
            h2.config.H2Configuration(
                header_encoding="utf-8",
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self._news = asyncio.Event()
        self._replies: defaultdict[int, Reply] = defaultdict(Reply)
        self._reading = asyncio.ensure_future(self._read())
        self._reading.add_done_callback(lambda _: self._news.set())
        self.closed = False
        """Whether the server has closed the connection, or said that it will (GOAWAY)."""

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, address: str, settings: dict[h2.settings.SettingCodes, int] | None = None
    ) -> AsyncIterator[Wire]:
        """Connect, and send the preface with these settings."""
        host, _, port = address.rpartition(":")
        wire = cls(*await asyncio.open_connection(host, int(port)))
        try:
            wire._http2.local_settings = h2.settings.Settings(
                client=True, initial_values=dict(settings or {})
            )
            wire._http2.initiate_connection()
            wire._flush()
            yield wire
        finally:
            await wire.close()

    def request(self, headers: Pairs, *parts: bytes, end: bool = True) -> int:
        """Begin a stream with headers and one DATA frame per part; return its number."""
        stream = self._http2.get_next_available_stream_id()
        self._http2.send_headers(stream, headers, end_stream=end and not parts)
        for index, part in enumerate(parts, 1):
            self._http2.send_data(stream, part, end_stream=end and index == len(parts))
        self._flush()
        return stream

    def send(self, stream: int, data: bytes, *, end: bool = False) -> None:
        """Send one more DATA frame."""
        self._http2.send_data(stream, data, end_stream=end)
        self._flush()

    def has_ended(self, stream: int) -> bool:
        """Say whether the server has answered, or has reset the stream."""
        reply = self._replies[stream]
        return reply.ended or reply.reset is not None

    async def credit(self, stream: int) -> int:
        """Return how many bytes flow control lets go, once it does or the stream has ended."""
        await asyncio.sleep(0)
        await self._when(
            lambda: self.has_ended(stream) or self._http2.local_flow_control_window(stream) > 0,
            "flow-control credit",
        )
        return 0 if self.has_ended(stream) else self._http2.local_flow_control_window(stream)

    def reset(self, stream: int) -> None:
        """Take a call back (RST_STREAM, CANCEL)."""
        self._http2.reset_stream(stream, 8)
        self._flush()

    async def reply(self, stream: int) -> Reply:
        """Return all that comes back on a stream, once it has ended."""
        await self._when(lambda: self.has_ended(stream), "a reply")
        return self._replies[stream]

    async def headers_of(self, stream: int) -> dict[str, str]:
        """Return a stream's response headers once they are there."""
        reply = self._replies[stream]
        await self._when(lambda: bool(reply.headers), "response headers")
        return reply.headers

    async def call(self, headers: Pairs, *parts: bytes, end: bool = True) -> Reply:
        """Send a request and return its reply."""
        return await self.reply(self.request(headers, *parts, end=end))

    async def close(self) -> None:
        """Close the connection."""
        self._reading.cancel()
        await asyncio.wait({self._reading})
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def _when(self, holds: Callable[[], bool], what: str) -> None:
        async with asyncio.timeout(_PATIENCE):
            while not holds():
                assert not self._reading.done(), f"the connection closed before {what}"
                self._news.clear()
                await self._news.wait()

    async def _read(self) -> None:
        while data := await self._reader.read(65_536):
            for event in self._http2.receive_data(data):
                self._take(event)
            self._flush()
            self._news.set()
        self.closed = True

    def _take(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.ResponseReceived():
                self._replies[event.stream_id].headers = _texts(event.headers)
            case h2.events.TrailersReceived():
                self._replies[event.stream_id].trailers = _texts(event.headers)
            case h2.events.DataReceived():
                self._replies[event.stream_id].body += event.data
                self._http2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.StreamEnded():
                self._replies[event.stream_id].ended = True
            case h2.events.StreamReset():
                self._replies[event.stream_id].reset = event.error_code
            case h2.events.ConnectionTerminated():
                self.closed = True

    def _flush(self) -> None:
        if data := self._http2.data_to_send():
            self._writer.write(data)


def _texts(headers: object) -> dict[str, str]:
    return {str(name): str(value) for name, value in headers}  # type: ignore[attr-defined]
