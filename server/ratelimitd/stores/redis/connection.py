"""One connection to a Redis or Valkey: bytes out, replies in, in order. RESP2, nothing decoded.

Owns the socket's options and what a reply is in Python: an error reply is a value, of redis-py's
kinds. Who may use a connection, and what its loss means, is told by whoever holds it.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any, cast

import hiredis
from redis import exceptions

if TYPE_CHECKING:
    from collections.abc import Callable

Reply = int | bytes | list[Any] | None | exceptions.ResponseError

MOST_UNSENT = 4 * 1024 * 1024
"""Bytes written that the kernel does not take; beyond them the connection is full."""
_KEEPALIVE = (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
"""A peer that vanished while nobody asked is noticed within half a minute."""
_KINDS: dict[str, type[exceptions.ResponseError]] = {
    "ASK": exceptions.AskError,
    "CLUSTERDOWN": exceptions.ClusterDownError,
    "MASTERDOWN": exceptions.MasterDownError,
    "MOVED": exceptions.MovedError,
    "NOPERM": exceptions.NoPermissionError,
    "NOSCRIPT": exceptions.NoScriptError,
    "OOM": exceptions.OutOfMemoryError,
    "READONLY": exceptions.ReadOnlyError,
    "TRYAGAIN": exceptions.TryAgainError,
}


def reply_error(text: str) -> exceptions.ResponseError:
    """Return an error reply as a value; where its first word names a kind, without that word.

    Others keep all of their text: what redis-py makes of LOADING or NOAUTH is no `ResponseError`.
    """
    code, _, rest = text.partition(" ")
    kind = _KINDS.get(code)
    if kind is None:
        return exceptions.ResponseError(text)
    try:
        return kind(rest)
    except ValueError:  # a redirection that names no place
        return exceptions.ResponseError(text)


def is_read_only(reply: Reply) -> bool:
    """Tell whether a write was refused by a replica; a script that goes on says it at its end."""
    if isinstance(reply, list):
        last = reply[-1] if reply else None
        return isinstance(last, bytes) and b"READONLY " in last
    return isinstance(reply, exceptions.ReadOnlyError)


def packed(command: tuple[str | bytes, ...]) -> bytes:
    """Return a command as it is sent."""
    command_for_hiredis: Any = command  # its stub knows tuples of one element only
    return hiredis.pack_command(command_for_hiredis)  # type: ignore[no-any-return]


class Connection(asyncio.Protocol):
    """A connection that is being opened, is open, or is lost.

    In the beginning `ask` is for the handshake. Then `hand_over` gives it to its user.
    """

    __slots__ = (
        "_gets",
        "_on_full",
        "_on_lost",
        "_on_reply",
        "_reader",
        "_said",
        "_transport",
        "_waiting",
    )

    def __init__(self) -> None:
        self._reader = hiredis.Reader(replyError=reply_error)
        self._gets = self._reader.gets
        self._transport: asyncio.Transport | None = None
        self._waiting: list[_Asked] = []
        self._said = ""
        self._on_reply: Callable[[Reply], None] = self._answered
        self._on_lost: Callable[[str], None] = self._unanswered
        self._on_full: Callable[[bool], None] = lambda _: None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is one by what it does, not by its class.
        self._transport = transport = cast("asyncio.Transport", transport)
        transport.set_write_buffer_limits(high=MOST_UNSENT)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in _KEEPALIVE:
                if hasattr(socket, name):
                    sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while (reply := self._gets()) is not False:
                self._on_reply(reply)
        except hiredis.ProtocolError:
            self.drop("it does not speak Redis's protocol")

    def connection_lost(self, exc: Exception | None) -> None:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc or "")
        self.drop(reason or "it closed the connection")

    def pause_writing(self) -> None:
        self._on_full(True)

    def resume_writing(self) -> None:
        self._on_full(False)

    def hand_over(
        self,
        on_reply: Callable[[Reply], None],
        on_lost: Callable[[str], None],
        on_full: Callable[[bool], None],
    ) -> Callable[[bytes], None]:
        """Give what comes from now on to these; return what writes bytes.

        `on_lost` is called once, with why; not after `drop`. Raises `ConnectionError` if it has
        been lost already.
        """
        if self._transport is None:
            raise ConnectionError(self._said or "it closed the connection")
        self._on_reply, self._on_lost, self._on_full = on_reply, on_lost, on_full
        return self._transport.write

    async def ask(self, *commands: tuple[str, ...]) -> list[Reply]:
        """Send commands at once and wait for the replies to all. Raises `ConnectionError`."""
        if self._transport is None:
            raise ConnectionError(self._said or "it closed the connection")
        asked = _Asked(len(commands))
        self._waiting.append(asked)
        self._transport.write(b"".join(map(packed, commands)))
        return await asked.future

    def drop(self, why: str = "") -> None:
        """Close at once, unsent bytes and all; with a reason, whoever holds it is told."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
            if why:
                self._on_lost(why)
        self._on_reply, self._on_lost = _ignore, _ignore

    def _answered(self, reply: Reply) -> None:
        if not self._waiting:
            # Who says something before it is asked is about to close ("max number of clients").
            self._said = str(reply)
            return
        asked = self._waiting[0]
        asked.replies.append(reply)
        if len(asked.replies) == asked.count:
            self._waiting.pop(0)
            if not asked.future.done():
                asked.future.set_result(asked.replies)

    def _unanswered(self, why: str) -> None:
        self._said = self._said or why
        for asked in self._waiting:
            if not asked.future.done():
                # What it said before it closed ("max number of clients reached") is the reason.
                said = [each for each in asked.replies if isinstance(each, Exception)]
                asked.future.set_exception(ConnectionError(str(said[0]) if said else why))


class _Asked:
    """Commands whose replies somebody awaits."""

    __slots__ = ("count", "future", "replies")

    def __init__(self, count: int) -> None:
        self.count = count
        self.replies: list[Reply] = []
        self.future: asyncio.Future[list[Reply]] = asyncio.get_running_loop().create_future()


def _ignore(_: object) -> None:
    """Take no notice."""
