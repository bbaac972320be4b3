"""Streaming calls over ASGI: health's Watch, reflection. Not the hot path.

Each runs in a task of its own that ends with the answer, the deadline, or the caller.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ratelimitd.transports import grpc_wire as wire
from ratelimitd.transports.grpc_context import status_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ratelimitd.transports.grpc_asgi import Receive, Send
    from ratelimitd.transports.grpc_context import Context
    from ratelimitd.transports.handlers import Method

_QUEUE = 16


class Stream:
    """One call in which either side sends several messages."""

    def __init__(self, method: Method, context: Context, largest: int) -> None:
        self._method = method
        self._context = context
        self._deframer = wire.Deframer(largest)
        self._inbox: asyncio.Queue[bytes | Exception | None] = asyncio.Queue(_QUEUE)
        self._started = False

    async def run(self, receive: Receive, send: Send) -> None:
        """Serve the call to its end."""
        work = asyncio.ensure_future(self._serve(send))
        pump = asyncio.ensure_future(self._pump(receive))
        try:
            timeout = self._context.time_remaining()
            await asyncio.wait({work, pump}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if not work.done() and pump.done():
                return
            if not work.done():
                work.cancel()
                await asyncio.wait({work})
                raise TimeoutError  # noqa: TRY301 - one place turns failures into statuses
            work.result()
        except Exception as error:  # noqa: BLE001 - every failure becomes a status, once, here
            await self._end(send, status_of(error, self._context))
        else:
            await self._end(send, self._context.trailers())
        finally:
            for task in (work, pump):
                task.cancel()
            await asyncio.wait({work, pump})

    async def _serve(self, send: Send) -> None:
        """Run the servicer, whichever of the streaming shapes it has."""
        method, context = self._method, self._context

        async def write(message: Any) -> None:  # noqa: ANN401 - a servicer's own type
            await self._start(send)
            body = wire.frame(method.serialize(message))
            await send({"type": "http.response.body", "body": body, "more_body": True})

        context.write = write
        if method.request_streaming:
            request: Any = self._requests()
        else:
            request = await anext(self._requests(), None)
            if request is None:
                msg = "the call needs exactly one message"
                raise wire.MalformedError(msg)
        result = method.behavior(request, context)
        if hasattr(result, "__aiter__"):
            async for message in result:
                await write(message)
            return
        response = await result
        if not method.response_streaming:
            await write(response)

    async def _requests(self) -> AsyncIterator[Any]:
        while (item := await self._inbox.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield self._method.parse(item)

    async def _pump(self, receive: Receive) -> None:
        """Hand the caller's messages on; return when the caller has gone."""
        while (message := await receive())["type"] == "http.request":
            try:
                for item in self._deframer.feed(message.get("body", b"")):
                    await self._inbox.put(item)
                if not message.get("more_body"):
                    self._deframer.finish()
                    await self._inbox.put(None)
            except (wire.MalformedError, wire.CompressedError, wire.OversizedError) as error:
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
