"""grpc.health.v1, per service and real: what is served, and whether it may be asked now.

Status by service name; the empty name stands for the whole server, as Envoy's health check asks.
Written here because grpcio's servicer keeps a lock while it writes to a watcher: one that reads
nothing would hold up every change of status, the drain of the whole process included.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Iterable

    class Context(Protocol):
        """What the servicer asks of its call, whichever the transport."""

        async def abort(self, code: grpc.StatusCode, details: str = "") -> NoReturn:
            """End the call with a status."""
            ...

        async def write(self, message: health_pb2.HealthCheckResponse) -> None:
            """Send one message of a streamed response."""
            ...


SERVICE = "grpc.health.v1.Health"
STORE = "ratelimitd.store"
"""Not a service, but asked for as one: whether the store answers. Limits go on without it."""
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class Health(health_pb2_grpc.HealthServicer):
    """The health of this process, as callers of grpc.health.v1 see it."""

    def __init__(self, services: Iterable[str]) -> None:
        """Begin as NOT_SERVING for each of the services and for the server as a whole."""
        self._services = frozenset(("", STORE, *services))
        self._ready = self._draining = self._ended = False
        self._store_up = True
        self._changed = asyncio.Event()

    def serve(self, *, ready: bool) -> None:
        """Say for all services whether they may be asked. Once draining, nothing changes that."""
        self._ready = ready and not self._draining
        self._tell()

    def store(self, up: bool) -> None:  # noqa: FBT001 - a callback's one argument
        """Say whether the store answers. All but `STORE` go on as they are."""
        self._store_up = up
        self._tell()

    def drain(self) -> None:
        """Say NOT_SERVING from now on, so that load balancers send no more calls here."""
        self._draining = True
        self.serve(ready=False)

    def end_watches(self) -> None:
        """End all watches, which have no end of their own: the server stops."""
        self._ended = True
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> health_pb2.HealthCheckResponse:
        """Answer with a service's status; NOT_FOUND where it is not served here."""
        status = self._status(request.service)
        if status == _SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service is served here")
        return health_pb2.HealthCheckResponse(status=status)

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:
        """Send a service's status now and whenever it changes."""
        told: int | None = None
        while True:
            changed = self._changed
            status = self._status(request.service)
            if status != told:
                told = status
                await context.write(health_pb2.HealthCheckResponse(status=status))
            if self._ended:
                return
            await changed.wait()

    def _status(self, service: str) -> int:
        if service not in self._services:
            return _SERVICE_UNKNOWN
        up = self._ready and (self._store_up or service != STORE)
        return _SERVING if up else _NOT_SERVING

    def register(self, handlers: Any) -> None:  # noqa: ANN401 - generated code wants a server
        """Serve the health service with `transports.handlers.Handlers`."""
        health_pb2_grpc.add_HealthServicer_to_server(self, handlers)
