"""A TCP proxy in front of a server, whose faults are switched while it runs.

It knows no protocol but TCP. A connection that has lost bytes never carries any again in that
direction: what TCP lost for good never lets later bytes take the place of earlier ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import TYPE_CHECKING, Final, Literal, Self

from tests.support.redis.daemon import LOOPBACK, Daemon, free_port

if TYPE_CHECKING:
    import ssl
    from asyncio import StreamReader, StreamWriter

Way = Literal["requests", "replies"]

_CHUNK: Final = 64 * 1024
_WAITING: Final = 256
"""Chunks that a delay may hold back; then the sender waits."""
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class Proxy:
    """Use it as an asynchronous context manager; every fault holds until it is switched off."""

    def __init__(self, target: Daemon | str, tls: ssl.SSLContext | None = None) -> None:
        self.target = target
        """Where new connections lead: a server or HOST:PORT. Those that are open stay."""
        self.delay_requests = 0.0
        """Seconds by which each byte to the server is late."""
        self.delay_replies = 0.0
        """Seconds by which each byte from the server is late."""
        self.lose_replies = False
        """Requests arrive, and the replies to them never do."""
        self.black_hole = False
        """New connections are accepted and nothing arrives at the server, nor from it."""
        self.connections = 0
        """How many were accepted so far."""
        self.port = 0
        self._tls = tls
        self._listening: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], _Connection] = {}

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def url(self) -> str:
        """`redis://` or `rediss://` with the proxy's address and the server's password."""
        password = self.target.password if isinstance(self.target, Daemon) else None
        scheme = "rediss" if self._tls else "redis"
        return f"{scheme}://{f':{password}@' if password else ''}{self.address}"

    @property
    def open(self) -> int:
        """How many connections there are now."""
        return len(self._open)

    async def __aenter__(self) -> Self:
        await self.accept()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()
        self.cut()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def accept(self) -> None:
        """Listen, again on the same port after `refuse()`."""
        while self._listening is None:
            port = self.port or free_port()
            try:
                self._listening = await asyncio.start_server(
                    self._accepted, LOOPBACK, port, ssl=self._tls
                )
            except OSError:
                if self.port:
                    raise
            self.port = port

    async def refuse(self) -> None:
        """Refuse new connections; those that are open stay."""
        if self._listening:
            self._listening.close()
            self._listening = None
            await asyncio.sleep(0)  # uvloop closes the socket one turn later

    def cut(self) -> None:
        """Reset every open connection, on both sides."""
        for task, connection in self._open.items():
            connection.reset()
            task.cancel()

    def _accepted(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.connections += 1
        connection = _Connection(self, reader, writer)
        task = asyncio.create_task(connection.run())
        self._open[task] = connection
        task.add_done_callback(self._open.pop)


class _Connection:
    """A client's connection, and the one to the server that was made for it."""

    def __init__(self, proxy: Proxy, reader: StreamReader, writer: StreamWriter) -> None:
        self._proxy = proxy
        self._reader = reader
        self._writers = [writer]
        self._lost: set[Way] = {"requests", "replies"} if proxy.black_hole else set()

    async def run(self) -> None:
        """Carry bytes until either side has ended, and then end both."""
        try:
            with contextlib.suppress(OSError):
                await self._carry()
        finally:
            for writer in self._writers:
                writer.close()
            for writer in self._writers:
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    def reset(self) -> None:
        """End both sides as a broken network does: unread bytes are gone."""
        for writer in self._writers:
            plain: socket.socket = writer.get_extra_info("socket")
            # One that has ended by itself has no socket any more, or one without a descriptor.
            with contextlib.suppress(AttributeError, ValueError, OSError):
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            writer.transport.abort()

    async def _carry(self) -> None:
        if self._lost:
            while await self._reader.read(_CHUNK):
                pass
            return
        target = self._proxy.target
        host, _, port = (target if isinstance(target, str) else target.address).rpartition(":")
        replies, writer = await asyncio.open_connection(host, int(port))
        self._writers.append(writer)
        ways = (
            asyncio.create_task(self._one_way(self._reader, writer, "requests")),
            asyncio.create_task(self._one_way(replies, self._writers[0], "replies")),
        )
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _one_way(self, reader: StreamReader, writer: StreamWriter, way: Way) -> None:
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_WAITING)
        delivery = asyncio.create_task(_deliver(late, writer))
        try:
            while data := await reader.read(_CHUNK):
                if not self._loses(way):
                    await late.put((asyncio.get_running_loop().time() + self._delay(way), data))
            await late.put((0.0, b""))
            await delivery
        finally:
            delivery.cancel()

    def _delay(self, way: Way) -> float:
        return self._proxy.delay_requests if way == "requests" else self._proxy.delay_replies

    def _loses(self, way: Way) -> bool:
        """Tell whether bytes that just came are lost, and so all that will come after them."""
        if self._proxy.black_hole:
            self._lost |= {"requests", "replies"}
        elif way == "replies" and self._proxy.lose_replies:
            self._lost.add(way)
        return way in self._lost


async def _deliver(late: asyncio.Queue[tuple[float, bytes]], writer: StreamWriter) -> None:
    """Write what is due, in the order in which it came, until the end comes."""
    while True:
        due, data = await late.get()
        if not data:
            return
        ahead = due - asyncio.get_running_loop().time()
        if ahead > 0:
            await asyncio.sleep(ahead)
        writer.write(data)
        await writer.drain()
