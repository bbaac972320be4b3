"""What the supervisor of several workers and a worker tell each other: JSON, one message a line.

Owns the wire only. A worker's first message says how it is set up, because a command line is for
everybody to read, and a store's URL is not:

    to a worker     start, signal, tell (its counts), others (their counts, as it asked)
    from a worker   ready, refused (it cannot serve, and why), told, ask (for the others' counts)
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator

Message = dict[str, Any]
"""Its `kind`, and what belongs to that."""
_LONGEST = 1 << 20
"""Bytes; the counts of 64 workers are a tenth of it."""


class Control:
    """One end of the socket between the two."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def on(cls, sock: socket.socket) -> Control:
        """Take a socket over."""
        return cls(*await asyncio.open_unix_connection(sock=sock, limit=_LONGEST))

    def tell(self, kind: str, **words: object) -> None:
        """Send a message; nothing happens if the other end is gone."""
        if not self._writer.is_closing():
            self._writer.write(encode(kind, **words))

    async def messages(self) -> AsyncIterator[Message]:
        """Yield what the other end sends, until it is gone."""
        try:
            async for line in self._reader:
                yield json.loads(line)
        except ConnectionError:
            return

    def close(self) -> None:
        """Let go of the socket."""
        self._writer.close()


def encode(kind: str, **words: object) -> bytes:
    """Return a message as it is sent."""
    return json.dumps({"kind": kind, **words}).encode() + b"\n"


def receive_first(sock: socket.socket) -> Message | None:
    """Read one message and not a byte more, before there is a loop. None: nobody is there."""
    with sock.makefile("rb", buffering=0) as file:
        line = file.readline()
    return json.loads(line) if line.endswith(b"\n") else None
