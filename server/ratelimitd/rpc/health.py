"""grpc.health.v1, per service and real: what is served, and whether it may be asked now.

Status by service name; the empty name stands for the whole server, as Envoy's health check asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio

if TYPE_CHECKING:
    from collections.abc import Iterable

SERVICE = "grpc.health.v1.Health"
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Health:
    """The health of this process, as callers of grpc.health.v1 see it."""

    def __init__(self, services: Iterable[str]) -> None:
        """Begin as NOT_SERVING for each of the services and for the server as a whole."""
        self._servicer = aio.HealthServicer()
        self._services = ("", *services)

    async def serve(self, *, ready: bool) -> None:
        """Say for all services whether they may be asked. Once draining, nothing changes that."""
        for service in self._services:
            await self._servicer.set(service, _SERVING if ready else _NOT_SERVING)

    async def drain(self) -> None:
        """Say NOT_SERVING from now on, so that load balancers send no more calls here."""
        await self._servicer.enter_graceful_shutdown()

    def register(self, handlers: Any) -> None:  # noqa: ANN401 - generated code wants a server
        """Serve the health service with `transports.handlers.Handlers`."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, handlers)
