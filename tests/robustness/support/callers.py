"""Callers by the hundred thousand, a tenth of whom take their calls back: written for speed.

Frames by hand, because no client of Python's makes as many calls as a server answers: of what comes
back, only the ends of streams are looked at. That the answers were decisions is the limiter's own
counts to say.
"""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Final, cast

from tests.robustness.support import frames
from tests.robustness.support.frames import (
    ACK,
    END_STREAM,
    HELLO,
    frame,
    headers,
    number,
)
from tests.robustness.support.watched import QUESTION

AT_ONCE: Final = 20
"""Calls of one connection that are under way together."""
CONNECTIONS: Final = 4
CANCELLED: Final = 10
"""Of that many calls one is cancelled."""
PATIENCE: Final = 20.0
_SENT: Final = b"\0" + number(len(QUESTION)) + QUESTION
_CANCEL: Final = number(8)
_WIDE: Final = frame(frames.WINDOW, payload=number((1 << 31) - 1 - 65_535))
"""Room for all that will ever come back."""
_ENDS: Final = (frames.HEADERS, frames.DATA, frames.RST)


@dataclasses.dataclass(slots=True)
class Tally:
    """What became of the calls of all connections."""

    answered: int = 0
    cancelled: int = 0
    lost: int = 0
    """Calls whose connection was ended beneath them."""
    connections: int = 0

    @property
    def calls(self) -> int:
        """All that were made."""
        return self.answered + self.cancelled + self.lost


class _Connection(asyncio.Protocol):
    """Makes calls in rounds of `AT_ONCE`; a round is over once all that are wanted have ended."""

    def __init__(self) -> None:
        self.over = asyncio.get_running_loop().create_future()
        """The connection is of no further use."""
        self._lost = asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._next = 1
        self._wanted: set[int] = set()
        self._round: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it
        self._transport.write(HELLO + _WIDE)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._lost.set()
        if not self.over.done():
            self.over.set_result(None)
        self._end_round()

    def data_received(self, data: bytes) -> None:
        rest, at = self._rest + data if self._rest else data, 0
        while (body := at + 9) <= len(rest):
            if (end := body + int.from_bytes(rest[at : at + 3])) > len(rest):
                break
            kind, flags = rest[at + 3], rest[at + 4]
            if (kind in _ENDS and flags & END_STREAM) or kind == frames.RST:
                self._wanted.discard(int.from_bytes(rest[at + 5 : body]))
            elif kind not in _ENDS:
                self._control(kind, flags, rest[body:end])
            at = end
        self._rest = rest[at:]
        if not self._wanted:
            self._end_round()

    def _control(self, kind: int, flags: int, payload: bytes) -> None:
        assert self._transport
        if kind == frames.SETTINGS and not flags & ACK:
            self._transport.write(frame(frames.SETTINGS, ACK))
        elif kind == frames.PING and not flags & ACK:
            self._transport.write(frame(frames.PING, ACK, payload=payload))
        elif kind == frames.GOAWAY and not self.over.done():
            self.over.set_result(None)

    def _end_round(self) -> None:
        if self._round is not None and not self._round.done():
            self._round.set_result(None)

    async def round(self, first: int, tally: Tally) -> None:
        """Make `AT_ONCE` calls, the first of which is the `first`-th of all, and await the rest."""
        assert self._transport
        sent, late = bytearray(), bytearray()
        cancelled = 0
        for index in range(first, first + AT_ONCE):
            stream, self._next = self._next, self._next + 2
            sent += headers(stream)
            if index % CANCELLED:
                self._wanted.add(stream)
                sent += frame(frames.DATA, END_STREAM, stream, _SENT)
                continue
            cancelled += 1
            manner = index // CANCELLED % 3  # before the question, right behind it, and later
            if manner:
                sent += frame(frames.DATA, END_STREAM, stream, _SENT)
            (late if manner == 2 else sent).extend(frame(frames.RST, 0, stream, _CANCEL))
        self._round = asyncio.get_running_loop().create_future()
        self._transport.write(sent)
        if late:
            await asyncio.sleep(0)
            self._transport.write(late)
        async with asyncio.timeout(PATIENCE):
            await self._round
        tally.cancelled += cancelled
        tally.lost += len(self._wanted)
        tally.answered += AT_ONCE - cancelled - len(self._wanted)
        self._wanted.clear()

    async def close(self) -> None:
        """Hang up."""
        assert self._transport
        self._transport.abort()
        await self._lost.wait()


async def make_calls(address: str, calls: int, tally: Tally) -> None:
    """Make `calls` calls (rounds of `AT_ONCE`) on several connections, and close them."""
    left = iter(range(0, calls, AT_ONCE))
    host, _, port = address.rpartition(":")

    async def caller() -> None:
        connection: _Connection | None = None
        try:
            for first in left:
                if connection is None or connection.over.done():
                    if connection is not None:
                        await connection.close()
                    _, connection = await asyncio.get_running_loop().create_connection(
                        _Connection, host, int(port)
                    )
                    tally.connections += 1
                await connection.round(first, tally)
        finally:
            if connection is not None:
                await connection.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(caller())
