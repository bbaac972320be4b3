"""A rate limit service that refuses streams, by hand-made HTTP/2 frames.

No gRPC server refuses a stream on request: it does so while it shuts down, in a race. Envoy retries
by the code of the reset alone, so the test has to choose that code.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import struct
from typing import TYPE_CHECKING, Final

from tests.e2e.support.fake_rls import allowed

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from collections.abc import AsyncIterator

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING = 0, 1, 3, 4, 6
END_STREAM, ACK, END_HEADERS = 1, 1, 4
INTERNAL_ERROR: Final = 2
REFUSED_STREAM: Final = 7

# Literal fields without indexing, so that neither side keeps a table.
RESPONSE_HEADERS: Final = b"\x88\x0f\x10\x10application/grpc"
TRAILERS: Final = b"\x00\x0bgrpc-status\x010"
EMPTY_MESSAGE: Final = b"\0\0\0\0\0"
REPORT: Final = b"\x0a\x05phase\x12\x04done"
"""The entry that tells a report, as it is on the wire."""
SERVING: Final = b"\x08\x01"
"""A health check's question is an empty message; this is its answer."""


@dataclasses.dataclass(slots=True, kw_only=True)
class RefusingRls:
    """`resets` says, call by call, with which code to reset it; when it is used up, calls pass.

    Reports, which come at the end of some request or other, pass and are not counted.
    """

    address: str
    resets: list[int] = dataclasses.field(default_factory=list)
    calls: int = 0


@contextlib.asynccontextmanager
async def serve_refusing_rls() -> AsyncIterator[RefusingRls]:
    """A refusing server on a free port."""
    fake = RefusingRls(address="")
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.ensure_future(_connection(fake, reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    fake.address = f"{host}:{port}"
    try:
        yield fake
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _connection(fake: RefusingRls, reader: StreamReader, writer: StreamWriter) -> None:
    try:
        if await reader.readexactly(len(PREFACE)) != PREFACE:
            return
        writer.write(_frame(SETTINGS))
        while True:
            head = await reader.readexactly(9)
            kind, flags = head[3], head[4]
            stream = int.from_bytes(head[5:])
            payload = await reader.readexactly(int.from_bytes(head[:3]))
            if kind in (SETTINGS, PING) and not flags & ACK:
                writer.write(_frame(kind, flags=ACK, payload=payload if kind == PING else b""))
            elif kind == DATA and flags & END_STREAM:
                writer.write(_answer(fake, stream, payload))
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


def _answer(fake: RefusingRls, stream: int, question: bytes) -> bytes:
    if question == EMPTY_MESSAGE:
        return _reply(stream, SERVING)
    if REPORT in question:
        return _reply(stream, allowed().SerializeToString())
    fake.calls += 1
    if fake.resets:
        return _frame(RST_STREAM, stream, payload=struct.pack(">I", fake.resets.pop(0)))
    return _reply(stream, allowed().SerializeToString())


def _reply(stream: int, message: bytes) -> bytes:
    return (
        _frame(HEADERS, stream, END_HEADERS, RESPONSE_HEADERS)
        + _frame(DATA, stream, payload=struct.pack(">BI", 0, len(message)) + message)
        + _frame(HEADERS, stream, END_HEADERS | END_STREAM, TRAILERS)
    )


def _frame(kind: int, stream: int = 0, flags: int = 0, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload
