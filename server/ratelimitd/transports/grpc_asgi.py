"""gRPC over ASGI: serves ordinary generated servicers as one ASGI 3 application.

Needs a server that passes `te: trailers` on as the extension `http.response.trailers`. A unary
handler that answers without suspending (a decision from memory) costs no task, no timer and no
disconnect watch; one that suspends gets its deadline and the caller's cancellation.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc

from ratelimitd.clock import steady_ns
from ratelimitd.transports import grpc_wire as wire
from ratelimitd.transports.grpc_context import Context, status_of
from ratelimitd.transports.grpc_streams import Stream
from ratelimitd.transports.patience import CANCELLED_WITHIN, GoneError, Patience
from ratelimitd.transports.resume import Resume

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    from ratelimitd.transports.handlers import Method

    Message = MutableMapping[str, Any]
    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

LARGEST_MESSAGE = 1 << 20
"""Bytes of one request message. Envoy's largest header block times a few descriptors fits."""

_GRPC = b"application/grpc"
_CONTENT_TYPE = (b"content-type", _GRPC)
_OK_TRAILERS = {
    "type": "http.response.trailers",
    "headers": [(b"grpc-status", b"0")],
    "more_trailers": False,
}
_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [_CONTENT_TYPE],
    "trailers": True,
}

_UNKNOWN = {
    "type": "http.response.start",
    "status": 200,
    "headers": [_CONTENT_TYPE, *wire.status_pairs(grpc.StatusCode.UNIMPLEMENTED, "unknown method")],
}
_NOTHING = {"type": "http.response.body", "body": b"", "more_body": False}


class GrpcApplication:
    """An ASGI application that answers gRPC calls on the paths of its methods."""

    def __init__(self, methods: Mapping[str, Method], largest: int = LARGEST_MESSAGE) -> None:
        self._methods = dict(methods)
        self._largest = largest
        self._patience = Patience()

    def lose_patience(self) -> None:
        """End the calls that still wait for something, because the server stops (UNAVAILABLE)."""
        self._patience.lose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        headers = dict(scope["headers"])
        method = self._methods.get(scope["path"])
        if method is None or not _speaks_grpc(scope, headers):
            await _refuse(scope, headers, send, known=method is not None)
            return
        try:
            timeout = headers.get(b"grpc-timeout")
            deadline = None if timeout is None else steady_ns() + _nanoseconds(timeout)
        except wire.MalformedError as error:
            await end(send, wire.status_pairs(grpc.StatusCode.INTERNAL, str(error)))
            return
        context = Context(scope["headers"], deadline)
        try:
            if not method.unary:
                await Stream(method, context, self._largest, self._patience).run(receive, send)
            else:
                await self._unary(method, context, receive, send)
        except OSError:  # ASGI's way to say that the caller has gone; servicers' own never get here
            context.lose()
        except asyncio.CancelledError:
            context.lose()
            raise
        finally:
            context.finished()

    async def _unary(self, method: Method, context: Context, receive: Receive, send: Send) -> None:
        try:
            message = wire.only_message(await self._body(receive))
            try:
                request = method.parse(message)
            except Exception as error:
                raise wire.MalformedError(wire.UNREADABLE) from error
            call = method.behavior(request, context)
            try:
                pending = call.send(None)
            except StopIteration as done:
                response = done.value
            except asyncio.CancelledError as error:
                raise RuntimeError(CANCELLED_WITHIN) from error
            else:
                response = await self._patience.wait(
                    Resume(call, pending), context.time_remaining(), partial(_gone, receive)
                )
            answer = wire.frame(method.serialize(response)) if context.is_ok else None
        except GoneError:
            context.lose()
            return
        except Exception as error:  # noqa: BLE001 - every failure becomes a status, once, here
            await end(send, status_of(error, context), context.initial)
            context.lose()
            return
        if answer is None:
            await end(send, context.trailers(), context.initial)
            return
        start = _START
        if context.initial:
            start = {**_START, "headers": [_CONTENT_TYPE, *context.initial]}
        await send(start)
        await send({"type": "http.response.body", "body": answer, "more_body": False})
        trailers = context.trailers()
        await send(_OK_TRAILERS if len(trailers) == 1 else {**_OK_TRAILERS, "headers": trailers})

    async def _body(self, receive: Receive) -> bytes:
        """Return the whole request body. Raises `GoneError` when the caller has gone."""
        message = await receive()
        body: bytes = message.get("body", b"")
        if message.get("more_body"):
            body = await self._rest(body, receive)
        elif message["type"] != "http.request":
            raise GoneError
        if len(body) > self._largest + wire.PREFIX:
            msg = f"a request of over {self._largest} bytes"
            raise wire.OversizedError(msg)
        return body

    async def _rest(self, body: bytes, receive: Receive) -> bytes:
        """Return the body with what comes after its first part, up to a part over the bound.

        Envoy and grpcio end a call with an empty part; a hostile peer may send a byte at a time.
        """
        parts = bytearray()
        more = True
        while more and len(body) + len(parts) <= self._largest + wire.PREFIX:
            message = await receive()
            if message["type"] != "http.request":
                raise GoneError
            parts += message.get("body", b"")
            more = message.get("more_body", False)
        return body + parts if parts else body


def _nanoseconds(timeout: bytes) -> int:
    return int(wire.timeout_seconds(timeout) * 1e9)


def _speaks_grpc(scope: Scope, headers: Mapping[bytes, bytes]) -> bool:
    """Say whether a request is a gRPC call that can be answered with trailers."""
    kind = headers.get(b"content-type")
    return (
        (kind == _GRPC or is_grpc(kind))
        and scope.get("method") == "POST"
        and "http.response.trailers" in scope.get("extensions", ())
    )


def is_grpc(content_type: bytes | None) -> bool:
    """Say whether a content type is gRPC's: `application/grpc`, `+proto` and such, parameters."""
    kind = (content_type or b"").partition(b";")[0].strip().lower()
    return kind == _GRPC or kind.startswith(_GRPC + b"+")


async def _refuse(scope: Scope, headers: Mapping[bytes, bytes], send: Send, *, known: bool) -> None:
    """Answer what is no call of ours: by HTTP status, or for gRPC clients by a gRPC status."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close"})
    elif scope["method"] != "POST":
        await _http(send, 405, [(b"allow", b"POST")])
    elif not is_grpc(headers.get(b"content-type")):
        await _http(send, 415, [(b"accept-post", _GRPC)])
    elif not known:
        await send(_UNKNOWN)
        await send(_NOTHING)
    else:
        text = "gRPC needs the header te: trailers"
        await end(send, wire.status_pairs(grpc.StatusCode.INTERNAL, text))


async def _http(send: Send, status: int, headers: list[wire.Pair]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send(_NOTHING)


async def end(send: Send, status: list[wire.Pair], initial: list[wire.Pair] | None = None) -> None:
    """End a call without a message: its status travels in the headers (trailers-only)."""
    headers = [_CONTENT_TYPE, *(initial or ()), *status]
    await _http(send, 200, headers)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
