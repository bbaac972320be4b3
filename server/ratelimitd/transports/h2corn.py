"""HTTP through h2corn: gRPC calls on ASGI, and the plain HTTP listeners.

All that is known of h2corn is here. Every bound is set on purpose: its own defaults are generous
(1 MiB of headers), and a gRPC body has no bound at all without a request policy. It reads its
certificate once: a new one takes a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from h2corn import Config, RequestPolicy, Server, _lib

from ratelimitd.errors import SettingsError
from ratelimitd.transports.grpc_asgi import LARGEST_MESSAGE
from ratelimitd.transports.ports import FIELDS, GRACE, HEADERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ratelimitd.tls import Tls

_BODY = 2 * LARGEST_MESSAGE  # over the adapter's own bound, which answers with a gRPC status
_BODY_IDLE = 10.0
_STREAM_WINDOW = 256 << 10  # unread bytes that a peer may have here: bounds memory, and lets the
_CONNECTION_WINDOW = 4 << 20  # adapter see a body grow too large before h2corn resets its stream
_STALL = 10.0
UNBOUNDED = 1 << 40

BOUNDS: dict[str, Any] = {
    "access_log": False,
    "date_header": False,
    "h2_max_inbound_frame_size": 16 << 10,
    "h2_timeout_response_stall": _STALL,
    "h2_timeout_write": _STALL,
    "runtime_threads": 1,
    "timeout_graceful_shutdown": GRACE,
    "timeout_handshake": 5.0,
    "timeout_request_header": 5.0,
}
"""What holds for every listener."""


def hide_banner() -> None:
    """Keep h2corn from greeting each listener on stderr; the process has a ready line of its own.

    There is no option for it. The version is pinned, and a test sees whether this still works.
    """
    _lib.emit_banner = lambda *_: None


def grpc_config(binds: Iterable[str], services: Iterable[str], tls: Tls | None = None) -> Config:
    """Return the bounds of a gRPC listener that serves `services`."""
    return _config(
        binds,
        grpc=True,
        **_headers(HEADERS, FIELDS),
        h2_initial_connection_window_size=_CONNECTION_WINDOW,
        h2_initial_stream_window_size=_STREAM_WINDOW,
        http1=False,
        lifespan="off",
        limit_concurrency=4096,
        limit_connections=1024,
        max_concurrent_streams=1024,
        max_request_body_size=_BODY,
        request_policies=_policies(services),
        timeout_keep_alive=0.0,  # Envoy decides when an idle connection ends, and never races us
        timeout_request_body_idle=_BODY_IDLE,
        **_tls(tls),
        **BOUNDS,
    )


def _policies(services: Iterable[str]) -> tuple[RequestPolicy, ...]:
    return tuple(
        RequestPolicy(
            path=f"/{service}/*",
            max_request_body_size=_BODY,
            timeout_request_body_idle=_BODY_IDLE,
            h2_timeout_response_stall=_STALL,
        )
        for service in services
    )


def _tls(tls: Tls | None) -> dict[str, Any]:
    """Return the options of TLS. By itself h2corn speaks 1.2 and 1.3."""
    if tls is None:
        return {}
    wanted = "none" if tls.client_ca is None else "required"
    files = {"certfile": tls.cert, "keyfile": tls.key, "ca_certs": tls.client_ca}
    return {**files, "cert_reqs": wanted}


def http_config(
    bind: str,
    services: Iterable[str] = (),
    largest_body: int = 64 << 10,
    tls: Tls | None = None,
) -> Config:
    """Return the bounds of a listener for people, probes and scrapers; gRPC services beside.

    A longer body is refused without a word. `UNBOUNDED` leaves that to an application which says
    more: h2corn holds under 1 MiB of what nobody has read.
    """
    return _config(
        (bind,),
        grpc=bool(services),
        request_policies=_policies(services),
        lifespan="off",
        limit_concurrency=256,
        limit_connections=256,
        max_concurrent_streams=64,
        max_request_body_size=largest_body,
        **_headers(16 << 10, 64),
        timeout_keep_alive=75.0,
        timeout_request_body_idle=_BODY_IDLE,
        **_tls(tls),
        **BOUNDS,
    )


def _headers(size: int, fields: int) -> dict[str, int]:
    """Return the bounds of a request's headers: over them 431, and not a dead connection."""
    return {
        "h2_max_header_list_size": size,
        "h2_max_header_block_size": 4 * size,
        "limit_request_fields": fields,
        "limit_request_head_size": size,
    }


def _config(binds: Iterable[str], **bounds: Any) -> Config:  # noqa: ANN401 - h2corn's own
    try:
        return Config(bind=tuple(binds), **bounds)
    except ValueError as error:
        msg = f"cannot listen on {', '.join(binds)}: {error}"
        raise SettingsError(msg) from error


class H2corn:
    """An ASGI application on h2corn, in this process and event loop."""

    def __init__(
        self,
        application: Any,  # noqa: ANN401 - any ASGI application
        config: Config,
        lose_patience: Callable[[], None] | None = None,
    ) -> None:
        """Serve an application; `lose_patience` makes it end the calls that wait for something."""
        self._server = Server(application, config)
        self._binds = ", ".join(config.bind)
        self._lose_patience = lose_patience
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> tuple[str, ...]:
        """See `Transport.start`."""
        self._serving = asyncio.ensure_future(self._server.serve())
        try:
            await self._server.wait_started()
        except (OSError, ValueError) as error:  # the latter for a certificate it cannot use
            await self.stop(0)
            why = getattr(error, "strerror", None) or error
            msg = f"cannot listen on {self._binds}: {why}"
            raise SettingsError(msg) from error
        except BaseException:
            await self.stop(0)
            raise
        return self._server.addresses

    async def stop(self, grace: float) -> None:
        """See `Transport.stop`.

        h2corn drains for its configured time, whatever is asked of it later: what outlives the
        grace is ended by the application.
        """
        serving = self._serving
        if serving is None:
            return
        self._server.shutdown()
        await asyncio.wait({serving}, timeout=grace)
        if self._lose_patience is not None:
            self._lose_patience()
        await asyncio.wait({serving}, timeout=1)
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError, RuntimeError, OSError, ValueError):
            await serving
        self._serving = None
