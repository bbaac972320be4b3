"""gRPC through grpcio's own asyncio server: the conservative choice, several times the CPU.

All that is known of grpcio's server is here; its methods are those of `Handlers`. Whoever connects
is shown the certificate that the files hold by then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from ratelimitd.errors import SettingsError
from ratelimitd.telemetry import log_failure
from ratelimitd.tls import Watch
from ratelimitd.transports.failures import DETAILS, FAILED
from ratelimitd.transports.grpc_asgi import LARGEST_MESSAGE
from ratelimitd.transports.grpc_wire import UNREADABLE, MalformedError
from ratelimitd.transports.ports import HEADERS

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterable,
        AsyncIterator,
        Awaitable,
        Callable,
        Iterable,
        Mapping,
    )

    from ratelimitd.tls import Tls
    from ratelimitd.transports.handlers import Handlers, Method

_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", LARGEST_MESSAGE),
    ("grpc.max_concurrent_streams", 1024),
    ("grpc.max_metadata_size", HEADERS),
    ("grpc.absolute_max_metadata_size", HEADERS),
    ("grpc.max_connection_idle_ms", 2**31 - 1),
    ("grpc.server_handshake_timeout_ms", 5000),
)


_LOG = logging.getLogger("ratelimitd")
_LOOK = 0.05
"""Seconds between two looks at whether the server is there."""
_AGAIN = 1.0
_PEERS_BYTES = "Invalid encoding on "


def _is_ours_to_tell(record: logging.LogRecord) -> bool:
    """Say whether a line of grpcio's is no complaint about a peer's headers, with their bytes."""
    return not str(record.msg).startswith(_PEERS_BYTES)


class Grpcio:
    """The handlers on a `grpc.aio` server, in this process and event loop."""

    def __init__(self, handlers: Handlers, binds: Iterable[str], tls: Tls | None = None) -> None:
        self._services = handlers.services
        self._binds = tuple(binds)
        self._credentials = None if tls is None else _credentials(tls)
        self._server: grpc.aio.Server | None = None
        self._replacing: asyncio.Task[None] | None = None
        logging.getLogger("grpc._cython.cygrpc").addFilter(_is_ours_to_tell)

    async def start(self) -> tuple[str, ...]:
        """See `Transport.start`."""
        server, addresses = await self._serve(self._binds)
        self._server = server
        self._replacing = asyncio.ensure_future(self._replace(server, addresses))
        return addresses

    async def _serve(self, binds: Iterable[str]) -> tuple[grpc.aio.Server, tuple[str, ...]]:
        server = grpc.aio.server(options=_OPTIONS)
        for service, methods in self._services.items():
            handlers = _rpc_handlers(methods)
            server.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler(service, handlers),)
            )
        try:
            addresses = tuple(self._bind(server, bind) for bind in binds)
        except SettingsError:
            await self._close(server)
            raise
        starting = asyncio.ensure_future(server.start())
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            await starting  # a start that is cut short can never be stopped
            await server.stop(None)
            raise
        return server, addresses

    async def _replace(self, server: grpc.aio.Server, addresses: tuple[str, ...]) -> None:
        """Serve again whenever a server ends that nobody stopped.

        grpcio's does at a single call whose path is no UTF-8: connections and calls of everybody
        are lost, but not the limiter. It tells only once all its peers have agreed, so it is asked.
        """
        while True:
            while _is_running(server):  # noqa: ASYNC110 - there is no event of it
                await asyncio.sleep(_LOOK)
            _LOG.warning("grpcio's server ended by itself; another takes its place")
            try:
                server, _ = await self._serve(addresses)
            except SettingsError as error:
                _LOG.error("%s; it is tried again", error)
                await asyncio.sleep(_AGAIN)
            else:
                self._server = server

    @staticmethod
    async def _close(server: grpc.aio.Server) -> None:
        """Let go of what a server could bind: before it has started, it cannot be stopped."""
        await server.start()
        await server.stop(None)

    def _bind(self, server: grpc.aio.Server, bind: str) -> str:
        try:
            if self._credentials is None:
                port = server.add_insecure_port(bind)
            else:
                port = server.add_secure_port(bind, self._credentials)
        except RuntimeError as error:
            msg = f"cannot listen on {bind}: the address is in use, or not this machine's"
            raise SettingsError(msg) from error
        return bind if bind.startswith("unix:") else f"{bind.rpartition(':')[0]}:{port}"

    async def stop(self, grace: float) -> None:
        """See `Transport.stop`."""
        if self._replacing is not None:
            self._replacing.cancel()
        server = self._server
        if server is not None:
            await server.stop(grace)
            self._server = None


def _is_running(server: Any) -> bool:  # noqa: ANN401 - grpcio's own, with a part of no name
    return bool(server._server.is_running())  # noqa: SLF001


def _credentials(tls: Tls) -> grpc.ServerCredentials:
    """Return what is asked for a certificate at each handshake. Raises `SettingsError`."""
    watch = Watch(tls)

    def present() -> grpc.ServerCertificateConfiguration:
        cert, key, client_ca = watch.pems
        return grpc.ssl_server_certificate_configuration([(key, cert)], client_ca)

    return grpc.dynamic_ssl_server_credentials(
        present(),
        lambda: present() if watch.look() else None,  # type: ignore[arg-type, return-value]
        require_client_authentication=tls.client_ca is not None,
    )


def _rpc_handlers(methods: Mapping[str, Method]) -> dict[str, Any]:
    make = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    return {
        name: make[method.request_streaming, method.response_streaming](
            _guarded(method), None, method.serialize
        )
        for name, method in methods.items()
    }


def _guarded(method: Method) -> Callable[[Any, Any], Awaitable[Any]]:
    """Return a behavior that reads its requests, and whose failures tell callers nothing.

    grpcio itself would log a peer's bad bytes as our failure, and send an exception's text.
    """

    async def behavior(sent: Any, context: Any) -> Any:  # noqa: ANN401 - a servicer's own types
        try:
            return await _answered(method, sent, context)
        except grpc.aio.InternalError as error:
            # Nothing can be sent any more: the caller went away at this very moment. That is no
            # failure, and ends as grpcio lets a call end whose caller it has seen leave.
            raise asyncio.CancelledError from error

    return behavior


async def _answered(method: Method, sent: Any, context: Any) -> Any:  # noqa: ANN401 - as above
    try:
        requests = _each(method, sent) if method.request_streaming else _parsed(method, sent)
        result = method.behavior(requests, context)
        if not hasattr(result, "__aiter__"):
            return await result
        async with contextlib.aclosing(result):
            async for message in result:
                await context.write(message)
    except (grpc.aio.AbortError, grpc.aio.InternalError):
        raise
    except MalformedError as error:
        await context.abort(grpc.StatusCode.INTERNAL, str(error))
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        # Something that the servicer waits for was cancelled: grpcio would leave the caller
        # without an end.
        log_failure(error, FAILED)
        await context.abort(grpc.StatusCode.UNKNOWN, DETAILS)
    except Exception as error:  # noqa: BLE001 - every failure becomes a status, once, here
        log_failure(error, FAILED)
        await context.abort(grpc.StatusCode.UNKNOWN, DETAILS)


async def _each(method: Method, sent: AsyncIterable[bytes]) -> AsyncIterator[Any]:
    async for message in sent:
        yield _parsed(method, message)


def _parsed(method: Method, message: bytes) -> Any:  # noqa: ANN401 - a servicer's own type
    try:
        return method.parse(message)
    except Exception as error:
        raise MalformedError(UNREADABLE) from error
