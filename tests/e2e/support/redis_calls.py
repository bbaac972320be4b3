"""Calls to a limiter by the ten thousand, each with its whole answer, from this event loop.

Frames by hand, because grpcio's client takes more of the machine than the limiters that it asks.
One `Line` is one connection with as many calls under way as a test likes.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final, NamedTuple, cast

import hpack

from ratelimitd._gen.envoy.service.ratelimit.v3.rls_pb2 import RateLimitRequest, RateLimitResponse
from tests.robustness.support import frames
from tests.robustness.support.frames import ACK, END_STREAM, PREFACE, frame, headers, number

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

DOMAIN: Final = "test"
TICK: Final = 0.001
"""Seconds between two looks at what is due."""
HANGS: Final = 120.0
"""Seconds after which a crowd is not slow, but waits for what never comes."""
LOST: Final = -1
"""In the place of a gRPC status: the connection or the stream ended without one."""
REFUSED: Final = -2
"""As well: by HTTP/2's REFUSED_STREAM or HTTP's 503, before the limiter looked at the call."""
_NO_TABLE: Final = frame(frames.SETTINGS, payload=b"\0\1" + number(0))
"""Each header block is to be read for itself."""
_WIDE: Final = frame(frames.WINDOW, payload=number((1 << 31) - 1 - 65_535))
_REFUSED_STREAM: Final = number(7)
_PREFIX: Final = 5
"""Bytes before a message: whether it is compressed, and its length."""


class Answer(NamedTuple):
    """What came of a call."""

    decision: RateLimitResponse | None
    status: int
    """gRPC's, `LOST` or `REFUSED`."""
    asked: float
    answered: float
    """Instants by `time.perf_counter`."""

    @property
    def passes(self) -> bool:
        """Whether the limiter lets the call pass."""
        return self.decision is not None and self.decision.overall_code == RateLimitResponse.OK

    @property
    def seconds(self) -> float:
        """How long the caller waited."""
        return self.answered - self.asked

    def header(self, name: str) -> str | None:
        """Return a response header of ours; None where there is none."""
        added = self.decision.response_headers_to_add if self.decision else ()
        return next((each.value for each in added if each.key.lower() == name.lower()), None)


def question(key: str, hits: int = 1) -> bytes:
    """Return what a caller with this API key asks; with 0 hits it charges nothing."""
    request = RateLimitRequest(domain=DOMAIN)
    descriptor = request.descriptors.add()
    descriptor.entries.add(key="api_key", value=key)
    descriptor.hits_addend.value = hits
    message = request.SerializeToString()
    return b"\0" + number(len(message)) + message


class Line(asyncio.Protocol):
    """One connection to one limiter."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._next = 1
        self._bodies: dict[int, bytes] = {}
        self._calls: dict[int, tuple[asyncio.Future[Answer], float]] = {}
        self._sending = bytearray()
        self.resets = 0
        """Calls that were taken back."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it
        self._transport.write(PREFACE + _NO_TABLE + _WIDE)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None
        for stream in tuple(self._calls):
            self._end(stream, None, LOST)

    def ask(self, asked: bytes) -> asyncio.Future[Answer]:
        """Make a call. A future that is cancelled takes the call back, as a client does."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        stream, self._next = self._next, self._next + 2
        self._calls[stream] = future, time.perf_counter()
        if not self._sending:
            loop.call_soon(self._flush)
        self._sending += headers(stream) + frame(frames.DATA, END_STREAM, stream, asked)
        future.add_done_callback(partial(self._take_back, stream))
        return future

    def _take_back(self, stream: int, ended: asyncio.Future[Answer]) -> None:
        if ended.cancelled() and stream in self._calls and self._transport:
            del self._calls[stream]
            self._flush()
            self.resets += 1
            self._bodies.pop(stream, None)
            self._transport.write(frame(frames.RST, 0, stream, number(8)))

    def _flush(self) -> None:
        if self._transport:
            self._transport.write(bytes(self._sending))
            self._sending.clear()
        else:
            self.connection_lost(None)

    def data_received(self, data: bytes) -> None:
        rest, at = self._rest + data if self._rest else data, 0
        while (body := at + frames.HEAD) <= len(rest):
            if (end := body + int.from_bytes(rest[at : at + 3])) > len(rest):
                break
            kind, flags = rest[at + 3], rest[at + 4]
            self._took(kind, flags, int.from_bytes(rest[at + 5 : body]), rest[body:end])
            at = end
        self._rest = rest[at:]

    def _took(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        assert self._transport
        if stream in self._calls:
            if kind == frames.DATA:
                self._bodies[stream] = self._bodies.get(stream, b"") + payload
            elif kind == frames.RST:
                self._end(stream, None, REFUSED if payload == _REFUSED_STREAM else LOST)
            elif kind == frames.HEADERS and flags & END_STREAM:
                self._ended(stream, payload)
        elif kind == frames.SETTINGS and not flags & ACK:
            self._transport.write(frame(frames.SETTINGS, ACK))
        elif kind == frames.PING and not flags & ACK:
            self._transport.write(frame(frames.PING, ACK, payload=payload))
        elif kind == frames.GOAWAY:
            self._transport.abort()  # no test here expects one: who is let go has lost its calls

    def _ended(self, stream: int, trailers: bytes) -> None:
        body = self._bodies.pop(stream, b"")
        if body:
            self._end(stream, RateLimitResponse.FromString(body[_PREFIX:]), 0)
        else:
            self._end(stream, None, _status(trailers))

    def _end(self, stream: int, decision: RateLimitResponse | None, status: int) -> None:
        future, asked = self._calls.pop(stream)
        if not future.done():
            future.set_result(Answer(decision, status, asked, time.perf_counter()))

    def close(self) -> None:
        """Hang up."""
        if self._transport:
            self._transport.abort()


@lru_cache
def _status(trailers: bytes) -> int:
    """Return the gRPC status of a header block, each of which is to be read for itself."""
    told = {str(name): str(value) for name, value in hpack.Decoder().decode(trailers)}
    return int(told.get("grpc-status", REFUSED if told.get(":status") == "503" else LOST))


@contextlib.asynccontextmanager
async def dial(*addresses: str) -> AsyncIterator[list[Line]]:
    """Connect to each of some limiters."""
    loop = asyncio.get_running_loop()
    lines = []
    try:
        for address in addresses:
            host, _, port = address.rpartition(":")
            lines.append((await loop.create_connection(Line, host, int(port)))[1])
        yield lines
    finally:
        for line in lines:
            line.close()


async def crowd(lines: list[Line], callers: int, asked: Iterable[bytes]) -> list[Answer]:
    """Ask all that is `asked`, `callers` at once on each line; return the answers as they came."""
    left = iter(asked)

    async def caller(line: Line) -> list[Answer]:
        return [await line.ask(one) for one in left]

    async with asyncio.timeout(HANGS), asyncio.TaskGroup() as group:
        calling = [group.create_task(caller(line)) for line in lines for _ in range(callers)]
    return [answer for each in calling for answer in each.result()]


async def paced(
    lines: list[Line], rate: float, seconds: float, asked: Iterable[bytes]
) -> list[Answer]:
    """Ask at a rate whatever comes back, on all lines in turn; return the answers in order."""
    took: list[asyncio.Future[Answer]] = []
    began, asking = time.perf_counter(), iter(asked)
    async with asyncio.timeout(HANGS):
        while (now := time.perf_counter() - began) < seconds:
            due = range(len(took), int(now * rate))
            took += [lines[number % len(lines)].ask(next(asking)) for number in due]
            await asyncio.sleep(TICK)
        return list(await asyncio.gather(*took))


def percentile(answers: Iterable[Answer], part: float) -> float:
    """Return the milliseconds that all but this part of the calls were answered within."""
    waited = sorted(answer.seconds for answer in answers)
    return waited[int(len(waited) * part)] * 1e3
