"""gRPC through grpcio's own asyncio server: the conservative choice, several times the CPU.

All that is known of grpcio's server is here; its methods are those of `Handlers`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from ratelimitd.errors import SettingsError
from ratelimitd.transports.grpc_asgi import LARGEST_MESSAGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ratelimitd.transports.handlers import Handlers, Method

_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", LARGEST_MESSAGE),
    ("grpc.max_concurrent_streams", 1024),
    ("grpc.max_metadata_size", 16 << 10),
    ("grpc.absolute_max_metadata_size", 16 << 10),
    ("grpc.max_connection_idle_ms", 2**31 - 1),
)


class Grpcio:
    """The handlers on a `grpc.aio` server, in this process and event loop."""

    def __init__(self, handlers: Handlers, binds: Iterable[str]) -> None:
        self._services = handlers.services
        self._binds = tuple(binds)
        self._server: grpc.aio.Server | None = None

    async def start(self) -> tuple[str, ...]:
        """See `Transport.start`."""
        server = grpc.aio.server(options=_OPTIONS)
        for service, methods in self._services.items():
            handlers = _rpc_handlers(methods)
            server.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler(service, handlers),)
            )
        addresses = tuple(self._bind(server, bind) for bind in self._binds)
        await server.start()
        self._server = server
        return addresses

    @staticmethod
    def _bind(server: grpc.aio.Server, bind: str) -> str:
        try:
            port = server.add_insecure_port(bind)
        except RuntimeError as error:
            msg = f"cannot listen on {bind}: the address is in use, or not this machine's"
            raise SettingsError(msg) from error
        return bind if bind.startswith("unix:") else f"{bind.rpartition(':')[0]}:{port}"

    async def stop(self, grace: float) -> None:
        """See `Transport.stop`."""
        if self._server is not None:
            await self._server.stop(grace)
            self._server = None


def _rpc_handlers(methods: Mapping[str, Method]) -> dict[str, Any]:
    make = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    return {
        name: make[method.request_streaming, method.response_streaming](
            method.behavior, method.parse, method.serialize
        )
        for name, method in methods.items()
    }
