"""gRPC over ASGI: serves ordinary generated servicers as one ASGI 3 application.

Needs a server that passes `te: trailers` on as the extension `http.response.trailers`. A unary
handler that answers without suspending (a decision from memory) costs no task, no timer and no
disconnect watch; one that suspends gets its deadline and the caller's cancellation.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc

from ratelimitd.clock import steady_ns
from ratelimitd.transports import grpc_wire as wire
from ratelimitd.transports.grpc_context import Context, status_of
from ratelimitd.transports.grpc_streams import Stream
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

_CONTENT_TYPE = (b"content-type", b"application/grpc")
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


class GrpcApplication:
    """An ASGI application that answers gRPC calls on the paths of its methods."""

    def __init__(self, methods: Mapping[str, Method], largest: int = LARGEST_MESSAGE) -> None:
        self._methods = dict(methods)
        self._largest = largest

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
            await _end(send, wire.status_pairs(grpc.StatusCode.INTERNAL, str(error)))
            return
        context = Context(scope["headers"], deadline)
        try:
            if not method.unary:
                await Stream(method, context, self._largest).run(receive, send)
            else:
                await self._unary(method, context, receive, send)
        finally:
            context.finished()

    async def _unary(self, method: Method, context: Context, receive: Receive, send: Send) -> None:
        try:
            body = await self._body(receive)
            if body is None:
                return
            request = method.parse(wire.only_message(body))
            call = method.behavior(request, context)
            try:
                pending = call.send(None)
            except StopIteration as done:
                response = done.value
            else:
                response = await _finish(call, pending, context, receive)
        except Exception as error:  # noqa: BLE001 - every failure becomes a status, once, here
            await _end(send, status_of(error, context))
            return
        if context.code() is not grpc.StatusCode.OK:
            await _end(send, context.trailers(), context.initial)
            return
        message = method.serialize(response)
        start = _START
        if context.initial:
            start = {**_START, "headers": [_CONTENT_TYPE, *context.initial]}
        await send(start)
        await send({"type": "http.response.body", "body": wire.frame(message), "more_body": False})
        trailers = context.trailers()
        await send(_OK_TRAILERS if len(trailers) == 1 else {**_OK_TRAILERS, "headers": trailers})

    async def _body(self, receive: Receive) -> bytes | None:
        """Return the whole request body; None when the caller has gone."""
        message = await receive()
        if message["type"] != "http.request":
            return None
        body: bytes = message.get("body", b"")
        while message.get("more_body"):
            if len(body) > self._largest + wire.PREFIX:
                break
            message = await receive()
            if message["type"] != "http.request":
                return None
            body += message.get("body", b"")
        if len(body) > self._largest + wire.PREFIX:
            msg = f"a request of over {self._largest} bytes"
            raise wire.OversizedError(msg)
        return body


def _nanoseconds(timeout: bytes) -> int:
    return int(wire.timeout_seconds(timeout) * 1e9)


def _speaks_grpc(scope: Scope, headers: Mapping[bytes, bytes]) -> bool:
    """Say whether a request is a gRPC call that can be answered with trailers."""
    return (
        scope["method"] == "POST"
        and headers.get(b"content-type", b"").startswith(b"application/grpc")
        and "http.response.trailers" in scope.get("extensions", ())
    )


async def _refuse(scope: Scope, headers: Mapping[bytes, bytes], send: Send, *, known: bool) -> None:
    """Answer what is no call of ours: by HTTP status, or for gRPC clients by a gRPC status."""
    if scope["method"] != "POST":
        await _http(send, 405, [(b"allow", b"POST")])
    elif not headers.get(b"content-type", b"").startswith(b"application/grpc"):
        await _http(send, 415, [(b"accept-post", b"application/grpc")])
    elif not known:
        text = f"unknown method {scope['path']}"
        await _end(send, wire.status_pairs(grpc.StatusCode.UNIMPLEMENTED, text))
    else:
        text = "gRPC needs the header te: trailers"
        await _end(send, wire.status_pairs(grpc.StatusCode.INTERNAL, text))


async def _http(send: Send, status: int, headers: list[wire.Pair]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _end(send: Send, status: list[wire.Pair], initial: list[wire.Pair] | None = None) -> None:
    """End a call without a message: its status travels in the headers (trailers-only)."""
    headers = [_CONTENT_TYPE, *(initial or ()), *status]
    await _http(send, 200, headers)


async def _finish(call: Any, pending: Any, context: Context, receive: Receive) -> Any:  # noqa: ANN401 - a servicer's own types
    """Let a suspended handler go on until it answers, its deadline passes or its caller goes."""
    work = asyncio.ensure_future(Resume(call, pending))
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait(
            {work, gone}, timeout=context.time_remaining(), return_when=asyncio.FIRST_COMPLETED
        )
        if work.done():
            return work.result()
        raise ConnectionError if gone.done() else TimeoutError
    finally:
        gone.cancel()
        if not work.done():
            work.cancel()
        await asyncio.wait({work, gone})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
