"""gRPC on the Envoy around this process: pyvoy loads Python into it and calls an ASGI application.

`Host` is that application, made before anything else; `Pyvoy` is the transport of a service that
runs in it. Envoy's configuration is `pyvoy_config`'s, its start `pyvoy_launch`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ratelimitd.errors import SettingsError
from ratelimitd.settings import Address
from ratelimitd.transports.pyvoy_admin import Admin
from ratelimitd.transports.pyvoy_config import DRAIN, LISTENING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from ratelimitd.transports.grpc_asgi import GrpcApplication, Message, Receive, Scope, Send

CALLS = 4096
"""Calls under way at once; what comes beyond is answered with 503 (UNAVAILABLE to gRPC)."""
_POLL = 0.02
_FLUSHED = 0.1
"""Seconds in which Envoy has surely written what it was given."""
_SOON, _LATER = 0.01, 1.0
"""Seconds until a caller that has left is missed, at the least and at the most."""
_LAST = 1.0
"""Seconds for calls that were just told that the server stops."""
_IMPATIENT = contextlib.suppress(TimeoutError, OSError, http.client.HTTPException)
_TE = (b"te", b"trailers")


class Host:
    """The ASGI application that pyvoy loads; it runs the process's own `main` in Envoy's loop."""

    _asgi_single_callable = True  # for pyvoy, which could not tell from a plain function

    def __init__(self, main: Callable[[Host], Awaitable[None]]) -> None:
        """Call `main` once Envoy is there; it ends the process, and never returns."""
        self._main = main
        self.admin = Path()
        """The socket of Envoy's admin interface, in a folder of its own. For `main` to set."""
        self._grpc: GrpcApplication | None = None
        self._under_way = 0
        self.ended = 0
        """Calls that have ended."""
        self.configured = asyncio.Event()
        """Set by the transport: everything else is there, so that Envoy may listen."""
        self.gone = asyncio.Event()
        """Envoy has given up, which it does only before it listens."""

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        """Answer one scope."""
        if scope["type"] == "lifespan":
            return self._live(receive, send)
        if _TE not in scope["headers"]:
            scope["extensions"] = {}  # pyvoy offers trailers to everybody, and then drops them
        return self._answer(scope, receive, send)

    def serve(self, application: GrpcApplication) -> None:
        """Answer calls with an application from now on, and let Envoy listen."""
        asyncio.get_running_loop().set_exception_handler(_without_late_news)
        self._grpc = application
        self.configured.set()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._grpc is None or self._under_way >= CALLS:
            await _refuse(send)
            return
        self._under_way += 1
        try:
            await self._grpc(scope, _Request(receive), send)
        finally:
            self._under_way -= 1
            self.ended += 1

    async def idle(self) -> None:
        """Return once no call is under way, and the last answer has left Envoy."""
        while self._under_way:  # noqa: ASYNC110 - a call that ends has better things to do
            await asyncio.sleep(_POLL)
        await asyncio.sleep(_FLUSHED)

    async def _live(self, receive: Receive, send: Send) -> None:
        """Hold Envoy's start back until the service has all but its gRPC listener."""
        await receive()
        running = asyncio.ensure_future(self._main(self))
        await self.configured.wait()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.gone.set()
        await running


class _Request:
    """What comes of a call: its body, and once it was all there nothing but the caller's leaving.

    pyvoy goes on to hand out empty bodies, at once: who waits for the caller to leave would spin.
    So it is asked now and then, after a short call's time first.
    """

    __slots__ = ("_ended", "_receive")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._ended = False

    async def __call__(self) -> Message:
        """Return the next event, as ASGI has it."""
        pause = _SOON
        while self._ended:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LATER)
            message = await self._receive()
            if message["type"] != "http.request":
                return message
        message = await self._receive()
        self._ended = not message.get("more_body")
        return message


def _without_late_news(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Say nothing of a `receive` that was given up and that pyvoy answers nevertheless."""
    if not isinstance(context.get("exception"), asyncio.InvalidStateError):
        loop.default_exception_handler(context)


async def _refuse(send: Send) -> None:
    await send({"type": "http.response.start", "status": 503, "headers": []})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


class Pyvoy:
    """The transport of a service that runs inside Envoy; there is one in a process."""

    def __init__(self, host: Host, application: GrpcApplication) -> None:
        self._host = host
        self._application = application
        self._admin: Admin | None = None
        self._addresses: tuple[str, ...] = ()

    async def start(self) -> tuple[str, ...]:
        """See `Transport.start`."""
        self._host.serve(self._application)
        beginning = asyncio.ensure_future(self._begin())
        gone = asyncio.ensure_future(self._host.gone.wait())
        try:
            await asyncio.wait({beginning, gone}, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                raise SettingsError("Envoy has given up; it said why above")
            return await beginning
        finally:
            beginning.cancel()
            gone.cancel()
            shutil.rmtree(self._host.admin.parent, ignore_errors=True)

    async def _begin(self) -> tuple[str, ...]:
        """Connect to Envoy; return where it listens, once it does."""
        while self._admin is None:
            with contextlib.suppress(OSError):
                self._admin = Admin(self._host.admin)
            await asyncio.sleep(_POLL)
        await _until(self._admin.is_live)
        listening = json.loads(await self._admin.ask("GET", "/listeners?format=json"))
        self._addresses = tuple(_addresses(listening["listener_statuses"][0]))
        return self._addresses

    async def stop(self, grace: float) -> None:
        """See `Transport.stop`.

        A connection is told that it ends with the next answer it carries, and where exactly half a
        second later, so that no call crosses with either. Then nobody new can connect.
        """
        admin, self._admin = self._admin, None
        if admin is None:
            return
        with _IMPATIENT:
            async with asyncio.timeout(grace):
                await self._drain(admin)
        self._application.lose_patience()
        with _IMPATIENT:
            async with asyncio.timeout(_LAST):
                await self._host.idle()
        admin.close()
        for address in self._addresses:
            if address.startswith("unix:"):
                remove(address.removeprefix("unix:"))  # Envoy leaves it behind

    async def _drain(self, admin: Admin) -> None:
        """Return once no call is under way, and none has ended since its connection was told."""
        if not await admin.count("cx_active"):
            await admin.ask("POST", "/drain_listeners")
            return
        ended = self._host.ended
        # The last question: a draining Envoy closes this connection too.
        await admin.ask("POST", "/drain_listeners?graceful")
        await asyncio.sleep(LISTENING + _FLUSHED)
        await self._host.idle()
        while ended != self._host.ended:
            ended = self._host.ended
            await asyncio.sleep(DRAIN + _FLUSHED)
            await self._host.idle()


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Return once Envoy says so: it has no way to call back."""
    while not await holds():  # noqa: ASYNC110 - Envoy sets no event of ours
        await asyncio.sleep(_POLL)


def remove(path: str) -> None:
    """Remove a socket that may be gone already."""
    Path(path).unlink(missing_ok=True)


def _addresses(status: Message) -> list[str]:
    """Return where a listener listens, in the order of its configuration."""
    places = [status["local_address"], *status.get("additional_local_addresses", ())]
    return [str(_address(place)) for place in places]


def _address(place: Message) -> Address:
    if "pipe" in place:
        return Address(path=place["pipe"]["path"])
    at = place["socket_address"]
    return Address(at["address"], at["port_value"])
