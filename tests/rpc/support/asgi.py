"""The adapter at the ASGI level: a fake server that hands over parts and keeps what is sent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ratelimitd.transports.grpc_asgi import GrpcApplication
from ratelimitd.transports.handlers import Method
from tests.rpc.support.raw_http2 import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

PATH = "/test.Service/Method"
Pairs = list[tuple[bytes, bytes]]
HEADERS: Pairs = [(b"te", b"trailers"), (b"content-type", b"application/grpc")]


def framed(message: bytes, flag: int = 0, length: int | None = None) -> bytes:
    """Return a message with its prefix, right or wrong."""
    size = len(message) if length is None else length
    return bytes([flag]) + size.to_bytes(4, "big") + message


async def echo(request: bytes, _: Any) -> bytes:  # noqa: ANN401 - any context
    """Return what was sent: the behavior of most tests."""
    return request


def method(
    behavior: Callable[[Any, Any], Any] = echo,
    *,
    parse: Callable[[bytes], Any] = bytes,
    serialize: Callable[[Any], bytes] = bytes,
    requests: bool = False,
    responses: bool = False,
) -> Method:
    """Return a method whose messages are bytes."""
    return Method(behavior, parse, serialize, requests, responses)


def application(one: Method, largest: int = 1000) -> GrpcApplication:
    """Return an application with one method."""
    return GrpcApplication({PATH: one}, largest)


def scope(headers: Pairs, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - ASGI's own
    """Return the scope of a sound call, with changes."""
    return {
        "type": "http",
        "method": "POST",
        "path": PATH,
        "headers": headers,
        "extensions": {"http.response.trailers": {}},
        **changes,
    }


class Exchange:
    """One HTTP request: what the application receives and what it has sent."""

    def __init__(self, *parts: bytes, ends: bool = True) -> None:
        """Hand over these parts of a body, with the end of the stream after the last one."""
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.received = 0
        self.sent: list[Mapping[str, Any]] = []
        for index, part in enumerate(parts, 1):
            self.push(part, more=not (ends and index == len(parts)))

    def push(self, part: bytes, *, more: bool) -> None:
        """Hand over one more part."""
        self._queue.put_nowait({"type": "http.request", "body": part, "more_body": more})

    def leave(self) -> None:
        """Let the caller go away."""
        self._queue.put_nowait({"type": "http.disconnect"})

    async def receive(self) -> dict[str, Any]:
        """ASGI's receive; waits where nothing is left, as for a caller who waits too."""
        message = await self._queue.get()
        self.received += len(message.get("body", b""))
        return message

    async def send(self, message: Mapping[str, Any]) -> None:
        """ASGI's send."""
        self.sent.append(message)

    @property
    def reply(self) -> Reply:
        """What was sent, as a client reads it."""
        reply = Reply()
        for message in self.sent:
            if message["type"] == "http.response.start":
                reply.headers = {":status": str(message["status"]), **_texts(message["headers"])}
            elif message["type"] == "http.response.body":
                reply.body += message["body"]
            elif message["type"] == "http.response.trailers":
                reply.trailers = _texts(message["headers"])
        return reply


async def run(
    app: GrpcApplication,
    *parts: bytes,
    headers: Iterable[tuple[bytes, bytes]] = (),
    **changes: Any,  # noqa: ANN401 - ASGI's own
) -> Reply:
    """Make one call to its end and return the reply."""
    exchange = Exchange(*parts)
    async with asyncio.timeout(5):
        await app(scope([*HEADERS, *headers], **changes), exchange.receive, exchange.send)
    return exchange.reply


def _texts(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in pairs}
