"""The listeners of a process, each with the transport that its settings ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ratelimitd.transports.admin import AdminApplication
from ratelimitd.transports.grpc_asgi import GrpcApplication
from ratelimitd.transports.grpcio import Grpcio
from ratelimitd.transports.h2corn import UNBOUNDED, H2corn, grpc_config, http_config
from ratelimitd.transports.pyvoy import Pyvoy
from ratelimitd.transports.sockets import refuse_in_use

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from ratelimitd.settings import Address, Settings
    from ratelimitd.transports.handlers import Handlers
    from ratelimitd.transports.ports import Transport
    from ratelimitd.transports.pyvoy import Host


def grpc(handlers: Handlers, settings: Settings, envoy: Host | None) -> Transport:
    """Return the listeners for calls; `envoy` is the one that this process runs in."""
    application = GrpcApplication(handlers.paths())
    if envoy is not None:  # which listens already: its path was looked at before
        return Pyvoy(envoy, application)
    refuse_in_use(settings.listen)
    binds = tuple(map(str, settings.listen))
    if settings.transport == "grpcio":
        return Grpcio(handlers, binds, settings.tls)
    config = grpc_config(binds, handlers.services, settings.tls)
    return H2corn(application, config, application.lose_patience)


def customers(served: object, address: Address) -> Transport:
    """Return the listener for customers and probes."""
    refuse_in_use((address,))
    return H2corn(served, http_config(str(address), largest_body=UNBOUNDED))


def administration(handlers: Handlers, http: Starlette, settings: Settings) -> Transport:
    """Return the listener for administrators and scrapers."""
    rpc = GrpcApplication(handlers.paths())
    application = AdminApplication(rpc, http, settings.admin_tokens)
    refuse_in_use((settings.admin,))
    config = http_config(str(settings.admin), handlers.services, tls=settings.admin_tls)
    return H2corn(application, config, rpc.lose_patience)
