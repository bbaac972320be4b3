"""Server reflection, so that grpcurl needs no proto files.

The `v1` name is served beside `v1alpha`: the messages are the same on the wire, and current clients
ask for `v1` first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, Protocol

    class Registrar(Protocol):
        """What methods are registered with (`transports.handlers.Handlers`)."""

        services: dict[str, dict[str, Any]]

        def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
            """Take a service's methods."""
            ...


V1 = "grpc.reflection.v1.ServerReflection"


def register(handlers: Registrar, services: Iterable[str]) -> None:
    """Serve reflection of those services and of itself."""
    names = (*services, reflection.SERVICE_NAME, V1)
    servicer = reflection.aio.ReflectionServicer(names)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, handlers)
    handlers.services[V1] = handlers.services[reflection.SERVICE_NAME]
