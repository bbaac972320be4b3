"""`serve`: the limiter as a process, from its flags to its exit status.

Owns signals and the ready line. What is served is `app.Service`'s.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from typing import TYPE_CHECKING, Any

from ratelimitd import __version__
from ratelimitd.cli import flags, terminal, values
from ratelimitd.errors import PolicyError
from ratelimitd.tls import CERT, CLIENT_CA, KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from ratelimitd.app import Service
    from ratelimitd.settings import Settings
    from ratelimitd.transports.pyvoy import Host

_LOG = logging.getLogger("ratelimitd")

COLLECT = (20_000, 20, 50)
"""Objects, and younger collections, after which Python looks for cycles of a generation. A hundred
calls under way are 3,000 objects, so that by default (700) it would look all the time, in vain: a
call leaves none, and that took a quarter of the process's time."""
UNPROTECTED = (
    "API keys are hashed with the published development secret, which protects nothing; "
    "give --secret-file FILE for more than a try"
)

READABLE = (
    "the admin listener speaks plaintext beyond this machine, so whoever reads the network has its "
    "tokens; give --tls-cert and --tls-key"
)
ALL_ADMINISTER = (
    "whoever has a certificate of --tls-client-ca may administer keys, also those who shall only "
    "ask; give --admin-token-file to tell them apart"
)


def serve(
    *,
    policy: flags.Policy,
    store: flags.Store = "memory",
    store_timeout: flags.StoreTimeout = "12ms",
    registry: flags.Registry = None,
    listen: flags.Listens = None,
    http: flags.Http = "127.0.0.1:8080",
    trusted_proxy: flags.TrustedProxies = None,
    admin: flags.Admin = flags.LOCAL_ADMIN,
    transport: flags.Transport = "auto",
    workers: flags.Workers = 1,
    secret_file: flags.SecretFile = None,
    admin_token_file: flags.AdminTokenFile = None,
    tls_cert: flags.TlsCert = None,
    tls_key: flags.TlsKey = None,
    tls_client_ca: flags.TlsClientCa = None,
    allow_private_webhooks: flags.AllowPrivateWebhooks = False,
    drain: flags.Drain = "1s",
    log_format: flags.LogFormat = "text",
) -> int:
    """Decide calls: run the limiter.

    Prints one line with its addresses on stdout once ready, and logs to stderr. SIGTERM drains and
    stops, SIGINT (Ctrl-C) stops without draining, either one twice stops at once; SIGHUP reads the
    policy again. A worker that ends is started again; the fifth time in a row ends them all.

    Example: `ratelimitd serve --policy policy.yaml --store file:counts.db`
    """
    files = {"policy": policy, "secret_file": secret_file, "admin_token_file": admin_token_file}
    tls = {CERT: tls_cert, KEY: tls_key, CLIENT_CA: tls_client_ca}
    kept = {"store": store, "store_timeout": store_timeout, "registry": registry}
    told = {"http": http, "admin": admin, "transport": transport, "drain": drain}
    plain = {"workers": workers, "allow_private_webhooks": allow_private_webhooks}
    chosen: dict[str, Any] = {**_paths(files), "tls": _paths(tls), **kept, **told, **plain}
    chosen["listen"] = listen or ["127.0.0.1:8081"]
    chosen["trusted_proxy"] = trusted_proxy or []
    return _run(chosen, log_format)


def _paths(files: Mapping[str, Path | None]) -> dict[str, str | None]:
    return {name: None if file is None else str(file) for name, file in files.items()}


def _run(chosen: dict[str, Any], log_format: str) -> int:
    import uvloop

    settings = values.settings(**chosen)
    chosen["transport"] = settings.transport  # `auto` is settled once, for every process
    if settings.workers > 1:
        from ratelimitd.cli import workers

        return workers.run(settings, chosen, log_format)
    if settings.transport == "pyvoy":
        from ratelimitd.cli import inside_envoy

        inside_envoy.become(settings, chosen, log_format)
    return uvloop.run(_serve(make(settings, log_format), settings.drain))


def make(settings: Settings, log_format: str, envoy: Host | None = None) -> Service:
    """Return the service, and log what its operator should know beforehand."""
    from ratelimitd.app import Service
    from ratelimitd.telemetry import configure_logging
    from ratelimitd.transports.h2corn import hide_banner

    configure_logging(log_format, worker=settings.worker if settings.workers > 1 else None)
    hide_banner()
    if settings.worker:
        return Service(settings, envoy=envoy)  # the first says it for all
    _LOG.info("calls are carried by %s", settings.transport)
    if not settings.secrets:
        _LOG.warning(UNPROTECTED)
    if not settings.admin.is_local:
        _advise(settings)
    if settings.is_shared:
        _LOG.info("counts are shared", extra={"store": settings.store_shown})
    service = Service(settings, envoy=envoy)
    for warning in service.policy.warnings:
        _LOG.warning(str(warning))
    return service


def _advise(settings: Settings) -> None:
    """Warn of what an admin listener that others can reach leaves open."""
    if settings.admin_tls is None:
        _LOG.warning(READABLE)
    elif not settings.admin_tokens:
        _LOG.warning(ALL_ADMINISTER)


async def _serve(service: Service, drain: float) -> int:
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, signals.put_nowait, number)
    return await until_told(service, drain, signals, print_ready)


async def until_told(
    service: Service,
    drain: float,
    signals: asyncio.Queue[signal.Signals],
    when_ready: Callable[[Mapping[str, Iterable[str]]], None],
) -> int:
    """Serve until a signal ends it; return the exit status."""
    gc.collect()
    gc.freeze()  # what is there by now stays
    gc.set_threshold(*COLLECT)
    try:
        await service.start()
        when_ready(service.addresses)
        while (received := await signals.get()) is signal.SIGHUP:
            await _reload(service)
        _LOG.info("stopping", extra={"signal": received.name})
        stopping = asyncio.ensure_future(
            _wind_down(service, drain if received is signal.SIGTERM else 0)
        )
        again = asyncio.ensure_future(_until_not_hangup(signals))
        await asyncio.wait({stopping, again}, return_when=asyncio.FIRST_COMPLETED)
        again.cancel()
        if stopping.done():
            await stopping
            return 0
        stopping.cancel()
        await asyncio.wait({stopping})
        return 128 + again.result()
    finally:
        await service.stop(grace=0)


async def _until_not_hangup(signals: asyncio.Queue[signal.Signals]) -> signal.Signals:
    while (received := await signals.get()) is signal.SIGHUP:
        pass
    return received


async def _wind_down(service: Service, drain: float) -> None:
    await service.drain()
    await asyncio.sleep(drain)
    await service.stop()


async def _reload(service: Service) -> None:
    """Read the policy again; a faulty one changes nothing."""
    try:
        await service.reload()
    except PolicyError as error:
        for fault in error.faults:
            _LOG.error(str(fault))
        _LOG.error("the policy was not reloaded: the one before stays")
    else:
        _LOG.info("the policy was reloaded", extra={"domains": ", ".join(service.limiter.matchers)})


def print_ready(addresses: Mapping[str, Iterable[str]]) -> None:
    """Print the line that says where the limiter listens; tests and scripts read it."""
    places = [f"{listener} {address}" for listener, each in addresses.items() for address in each]
    print(f"ratelimitd {__version__} ready: {', '.join(places)}", flush=True)
    if sys.stderr.isatty():
        target = next(iter(addresses["grpc"]))
        terminal.say(f"Try: {terminal.program()} decide --target {target} api_key=demo-free")
