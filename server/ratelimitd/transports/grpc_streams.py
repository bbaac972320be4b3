"""Streaming calls over ASGI: health's Watch, reflection. Not the hot path.

Each has one task beside it that reads what the caller sends; both end with the answer, the
deadline, or the caller.
"""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any

from ratelimitd.transports import grpc_wire as wire
from ratelimitd.transports.grpc_context import status_of
from ratelimitd.transports.patience import GoneError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from ratelimitd.transports.grpc_asgi import Receive, Send
    from ratelimitd.transports.grpc_context import Context
    from ratelimitd.transports.handlers import Method
    from ratelimitd.transports.patience import Patience

_QUEUE = 16
_END = object()


class Stream:
    """One call in which either side sends several messages."""

    def __init__(self, method: Method, context: Context, largest: int, patience: Patience) -> None:
        self._patience = patience
        self._method = method
        self._context = context
        self._deframer = wire.Deframer(largest)
        self._inbox: asyncio.Queue[bytes | Exception | None] = asyncio.Queue(_QUEUE)
        self._started = False

    async def run(self, receive: Receive, send: Send) -> None:
        """Serve the call to its end."""
        context = self._context
        pump = partial(self._pump, receive)
        try:
            await self._patience.wait(
                self._serve(send), context.time_remaining(), pump, at_once=True
            )
        except GoneError:
            return
        except Exception as error:  # noqa: BLE001 - every failure becomes a status, once, here
            await self._end(send, status_of(error, context))
        else:
            await self._end(send, context.trailers())
        finally:
            context.writer = None

    async def _serve(self, send: Send) -> None:
        """Run the servicer, whichever of the streaming shapes it has."""
        method, context = self._method, self._context

        async def write(message: Any) -> None:  # noqa: ANN401 - a servicer's own type
            body = wire.frame(method.serialize(message))
            try:
                await self._start(send)
                await send({"type": "http.response.body", "body": body, "more_body": True})
            except OSError as error:  # as ASGI has it: the caller has gone
                raise GoneError from error

        context.writer = write
        async with contextlib.aclosing(self._requests()) as requests:
            request: Any = requests if method.request_streaming else await self._only_request()
            result = method.behavior(request, context)
            if not hasattr(result, "__aiter__"):
                response = await result
                if not method.response_streaming and context.is_ok:
                    await write(response)
                return
            async with contextlib.aclosing(result):
                async for message in result:
                    await write(message)

    async def _only_request(self) -> Any:  # noqa: ANN401 - a servicer's own type
        """Return the one message of a call whose caller sends one."""
        request = await self._next()
        if request is _END:
            msg = "the call needs exactly one message"
            raise wire.MalformedError(msg)
        return request

    async def _requests(self) -> AsyncGenerator[Any]:
        while (request := await self._next()) is not _END:
            yield request

    async def _next(self) -> Any:  # noqa: ANN401 - a servicer's own type
        """Return the caller's next message, or `_END`; raise what is wrong with it."""
        item = await self._inbox.get()
        if item is None:
            return _END
        if isinstance(item, Exception):
            try:
                raise item
            finally:
                del item  # the exception knows this frame: a cycle otherwise
        try:
            return self._method.parse(item)
        except Exception as error:
            raise wire.MalformedError(wire.UNREADABLE) from error

    async def _pump(self, receive: Receive) -> None:
        """Hand the caller's messages on; return when the caller has gone."""
        broken = False
        while (message := await receive())["type"] == "http.request":
            if broken:
                continue
            try:
                for item in self._deframer.feed(message.get("body", b"")):
                    await self._inbox.put(item)
                if not message.get("more_body"):
                    self._deframer.finish()
                    await self._inbox.put(None)
            except (wire.MalformedError, wire.CompressedError, wire.OversizedError) as error:
                broken = True
                await self._inbox.put(error)

    async def _start(self, send: Send) -> None:
        if self._started:
            return
        self._started = True
        headers = [(b"content-type", b"application/grpc"), *self._context.initial]
        await send(
            {"type": "http.response.start", "status": 200, "headers": headers, "trailers": True}
        )

    async def _end(self, send: Send, status: list[wire.Pair]) -> None:
        await self._start(send)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        await send({"type": "http.response.trailers", "headers": status, "more_trailers": False})
