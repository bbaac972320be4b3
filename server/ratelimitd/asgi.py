"""The limiter as one ASGI application with a lifespan, for any server that sends trailers.

    export RATELIMITD_POLICY=policy.yaml RATELIMITD_SECRET_FILE=secret
    h2corn --grpc ratelimitd.asgi:application

Reads the environment when the server starts it, because a foreign server hands in nothing else:
RATELIMITD_POLICY, RATELIMITD_STORE, RATELIMITD_STORE_TIMEOUT and RATELIMITD_SECRET_FILE mean what
they mean to `serve`. The server has the listeners, so a secret is always needed: nobody here can
see whether an address is loopback. Several workers need a Redis: counts in memory would be several
counts.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ratelimitd.app import Service
from ratelimitd.errors import PolicyError, RateLimitdError, SettingsError
from ratelimitd.settings import Settings, duration, read_secrets
from ratelimitd.transports.grpc_asgi import GrpcApplication

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

NO_LIFESPAN = "ratelimitd.asgi needs a server that runs the ASGI lifespan"


def settings_from(environ: Mapping[str, str]) -> Settings:
    """Return the settings that an environment asks for. Raises `SettingsError`."""
    faults = [
        f"{name} is not set: it names {what}"
        for name, what in (
            ("RATELIMITD_POLICY", "the policy file, or a directory of them"),
            ("RATELIMITD_SECRET_FILE", "a file of secrets to hash API keys with, one per line"),
        )
        if not environ.get(name)
    ]
    if faults:
        raise SettingsError("\n".join(faults))
    return Settings(
        policy=Path(environ["RATELIMITD_POLICY"]),
        store=environ.get("RATELIMITD_STORE") or "memory",
        store_timeout=duration(environ.get("RATELIMITD_STORE_TIMEOUT") or "12ms"),
        secrets=read_secrets(Path(environ["RATELIMITD_SECRET_FILE"])),
    )


class Application:
    """Serves gRPC between the startup and the shutdown of its server."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._service: Service | None = None
        self._grpc: GrpcApplication | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one scope."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self._grpc is None:
            raise RuntimeError(NO_LIFESPAN)
        else:
            await self._grpc(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self._start()
        except RateLimitdError as error:
            await send({"type": "lifespan.startup.failed", "message": _told(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        assert self._service is not None
        await self._service.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _start(self) -> None:
        self._service = Service(settings_from(self._environ))
        await self._service.prepare()
        self._grpc = GrpcApplication(self._service.handlers.paths())


def _told(error: RateLimitdError) -> str:
    if isinstance(error, PolicyError):
        return "\n".join(map(str, error.faults))
    return str(error)


application = Application(os.environ)
