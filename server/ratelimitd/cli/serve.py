"""`serve`: the limiter as a process, from its flags to its exit status.

Owns signals and the ready line. What is served is `app.Service`'s.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from typing import TYPE_CHECKING, Any

from ratelimitd import __version__
from ratelimitd.cli import flags, terminal, values
from ratelimitd.errors import PolicyError, SettingsError
from ratelimitd.tls import CERT, CLIENT_CA, KEY

if TYPE_CHECKING:
    from ratelimitd.app import Service
    from ratelimitd.settings import Settings
    from ratelimitd.transports.pyvoy import Host

_LOG = logging.getLogger("ratelimitd")

NOT_SHARED = (
    "--workers {}: needs a store that processes share; "
    "this version keeps counts in memory or in a file"
)
UNPROTECTED = (
    "API keys are hashed with the published development secret, which protects nothing; "
    "give --secret-file FILE for more than a try"
)


def serve(
    *,
    policy: flags.Policy,
    store: flags.Store = "memory",
    listen: flags.Listens = None,
    http: flags.Http = "127.0.0.1:8080",
    admin: flags.Admin = "127.0.0.1:9090",
    transport: flags.Transport = "h2corn",
    workers: flags.Workers = 1,
    secret_file: flags.SecretFile = None,
    tls_cert: flags.TlsCert = None,
    tls_key: flags.TlsKey = None,
    tls_client_ca: flags.TlsClientCa = None,
    drain: flags.Drain = "1s",
    log_format: flags.LogFormat = "text",
) -> int:
    """Decide calls: run the limiter.

    Prints one line with its addresses on stdout once it is ready, and logs to stderr.
    SIGTERM drains and stops, SIGINT (Ctrl-C) stops without draining, either one twice stops at
    once; SIGHUP reads the policy again.

    Example: `ratelimitd serve --policy policy.yaml --store file:counts.db`
    """
    if workers != 1:
        raise SettingsError(NOT_SHARED.format(workers))
    files = {CERT: tls_cert, KEY: tls_key, CLIENT_CA: tls_client_ca}
    chosen: dict[str, Any] = {
        "policy": str(policy),
        "store": store,
        "listen": listen or ["127.0.0.1:8081"],
        "http": http,
        "admin": admin,
        "transport": transport,
        "secret_file": secret_file and str(secret_file),
        "tls": {flag: str(file) for flag, file in files.items() if file is not None},
        "drain": drain,
    }
    return _run(chosen, log_format)


def _run(chosen: dict[str, Any], log_format: str) -> int:
    import uvloop

    settings = values.settings(**chosen)
    if settings.transport == "pyvoy":
        from ratelimitd.cli import inside_envoy

        inside_envoy.become(settings, chosen, log_format)
    return uvloop.run(_serve(make(settings, log_format), settings.drain))


def make(settings: Settings, log_format: str, envoy: Host | None = None) -> Service:
    """Return the service, and log what its operator should know beforehand."""
    from ratelimitd.app import Service
    from ratelimitd.telemetry import configure_logging
    from ratelimitd.transports.h2corn import hide_banner

    configure_logging(log_format)
    hide_banner()
    if not settings.secrets:
        _LOG.warning(UNPROTECTED)
    service = Service(settings, envoy=envoy)
    for warning in service.policy.warnings:
        _LOG.warning(str(warning))
    return service


async def _serve(service: Service, drain: float) -> int:
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, signals.put_nowait, number)
    return await until_told(service, drain, signals)


async def until_told(service: Service, drain: float, signals: asyncio.Queue[signal.Signals]) -> int:
    """Serve until a signal ends it; return the exit status."""
    try:
        await service.start()
        print(ready_line(service), flush=True)
        if sys.stderr.isatty():
            target = service.addresses["grpc"][0]
            terminal.say(f"Try: {terminal.program()} decide --target {target} api_key=demo-free")
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


def ready_line(service: Service) -> str:
    """Return the line that says where the limiter listens; tests and scripts read it."""
    places = [
        f"{listener} {address}"
        for listener, addresses in service.addresses.items()
        for address in addresses
    ]
    return f"ratelimitd {__version__} ready: {', '.join(places)}"
