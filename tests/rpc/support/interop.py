"""A test service on any transport: what gRPC's interoperability suite asks of a unary server."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from ratelimitd.transports.handlers import Handlers
from tests.rpc.support.asgi import echo, method

SERVICE = "test.Service"
SPECIAL = "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n"
"""The status message of the case `special_status_message`."""
SECRET = "Bearer sk-very-secret"


class Service:
    """Behaviors by the names of the interoperability cases; notes what becomes of its calls."""

    def __init__(self) -> None:
        self.waiting = 0
        self.ends: list[str] = []

    async def sleeps(self, request: bytes, context: Any) -> bytes:  # noqa: ANN401
        """Wait for ever."""
        context.add_done_callback(lambda _: self.ends.append("done"))
        self.waiting += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.ends.append("cancelled")
            raise
        finally:
            self.waiting -= 1
        return request

    @staticmethod
    async def large(request: bytes, _: Any) -> bytes:  # noqa: ANN401
        """Answer more than was asked."""
        return bytes(len(request)) + bytes(42_331)

    @staticmethod
    async def metadata(request: bytes, context: Any) -> bytes:  # noqa: ANN401
        """Send back what the case's two keys hold."""
        sent = dict(context.invocation_metadata())
        await context.send_initial_metadata(
            (("x-grpc-test-echo-initial", sent["x-grpc-test-echo-initial"]),)
        )
        key = "x-grpc-test-echo-trailing-bin"
        context.set_trailing_metadata(((key, sent[key]),))
        return request

    @staticmethod
    async def status(request: bytes, context: Any) -> bytes:  # noqa: ANN401
        """End with UNKNOWN and the message that was sent."""
        await context.abort(grpc.StatusCode.UNKNOWN, request.decode())
        return request

    @staticmethod
    async def set_status(request: bytes, context: Any) -> bytes:  # noqa: ANN401
        """Set a status, and return a message all the same."""
        context.set_code(grpc.StatusCode.FAILED_PRECONDITION)
        context.set_details("set")
        return request

    @staticmethod
    async def refuses(request: bytes, context: Any) -> bytes:  # noqa: ANN401
        """Abort, after headers and with trailers."""
        await context.send_initial_metadata((("early", "header"),))
        await context.abort(grpc.StatusCode.NOT_FOUND, "no", (("late", "trailer"),))
        return request

    @staticmethod
    async def fails(request: bytes, _: Any) -> bytes:  # noqa: ANN401
        """Fail with a text that must stay here."""
        raise ValueError(SECRET)

    @staticmethod
    async def fails_later(request: bytes, _: Any) -> bytes:  # noqa: ANN401
        """Fail after having waited."""
        await asyncio.sleep(0)
        raise ValueError(SECRET)

    @staticmethod
    async def stream_fails(request: bytes, context: Any) -> None:  # noqa: ANN401
        """Send one message, and fail."""
        await context.write(request)
        raise ValueError(SECRET)

    @staticmethod
    async def awaits_cancelled(request: bytes, _: Any) -> bytes:  # noqa: ANN401
        """Wait for something that somebody else cancels."""
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.cancel)
        return await future


def handlers(service: Service) -> Handlers:
    """Return the service's methods, as every transport takes them."""
    made = Handlers()
    behaviors = {
        name: getattr(service, name)
        for name in vars(Service)
        if not name.startswith("_") and name != "stream_fails"
    }
    made.services[SERVICE] = {name: method(each) for name, each in behaviors.items()}
    made.services[SERVICE]["echo"] = method(echo)
    made.services[SERVICE]["stream_fails"] = method(service.stream_fails, responses=True)
    return made
