"""`dev`: everything on one machine, to try it: the limiter, a stub API and a real Envoy.

Owns how they are put together and how they all end. What to type then is `try_lines`.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import signal
from typing import TYPE_CHECKING

from ratelimitd.cli import flags, terminal, try_lines, values
from ratelimitd.errors import SettingsError
from ratelimitd.settings import Address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from ratelimitd.devkit.envoy import Envoy
    from ratelimitd.settings import Settings

PRIVATE = "redis"
"""The store that is a Redis of the demo's own."""
_SIGNAL_LAG = 0.5
"""Seconds. Ctrl-C reaches Envoy as well as us, and its end may be noticed first."""


def dev(
    *,
    with_envoy: flags.WithEnvoy = False,
    edge: flags.Edge = "127.0.0.1:10000",
    policy: flags.OwnPolicy = None,
    store: flags.DevStore = "memory",
    listen: flags.Listen = "127.0.0.1:8081",
    http: flags.Http = "127.0.0.1:8080",
    admin: flags.Admin = flags.LOCAL_ADMIN,
    api: flags.Api = "127.0.0.1:0",
) -> int:
    """Try everything on this machine: the limiter, a stub API, a real Envoy.

    Prints the addresses and lines to try on stdout. Ctrl-C stops it all. API keys are hashed with
    a published secret, so everything stays on loopback.

    Example: `ratelimitd dev --with-envoy`
    """
    from ratelimitd.devkit.samples import samples_dir

    places = {"edge": edge, "listen": listen, "http": http, "admin": admin, "api": api}
    _only_loopback(places)
    settings = values.settings(
        policy=policy or samples_dir() / "policy.yaml",
        store="memory" if store == PRIVATE else store,
        listen=[listen],
        http=http,
        admin=admin,
        allow_private_webhooks=True,  # whose receiver would be elsewhere?
    )
    return _run(settings, api, edge if with_envoy else "", private=store == PRIVATE)


def _run(settings: Settings, api: str, edge: str, *, private: bool) -> int:
    import uvloop

    from ratelimitd.devkit.envoy import find_binary
    from ratelimitd.devkit.redis_server import find_server
    from ratelimitd.telemetry import configure_logging
    from ratelimitd.transports.h2corn import hide_banner

    configure_logging("text")
    hide_banner()
    if edge:
        with _told():
            find_binary()
    if private:
        with _told("--store redis: "):
            find_server()
    return uvloop.run(_dev(settings, api, edge, private=private))


@contextlib.contextmanager
def _told(flag: str = "") -> Iterator[None]:
    """Make what Envoy or Redis objects to a fault of a flag."""
    from ratelimitd.devkit.envoy import EnvoyError
    from ratelimitd.devkit.redis_server import RedisServerError

    try:
        yield
    except (EnvoyError, RedisServerError) as error:
        raise SettingsError(f"{flag}{error}") from error


def _only_loopback(places: dict[str, str]) -> None:
    faults = values.Faults()
    for flag, text in places.items():
        address = faults.of(f"--{flag}", Address.parse, text)
        if address is not None and not address.is_local:
            faults.add(
                f"--{flag} {address}: `dev` stays on loopback, because its secret is published; "
                "`ratelimitd serve` is for more"
            )
    faults.settle()


async def _dev(settings: Settings, api: str, edge: str, *, private: bool) -> int:
    """Run everything until a signal comes, or Envoy ends by itself."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        if private:
            url = await stack.enter_async_context(_redis())
            settings = dataclasses.replace(settings, store=url)
        places = await stack.enter_async_context(_limiter(settings))
        places["api"] = await stack.enter_async_context(_stub_api(api))
        envoy = None
        if edge:
            terminal.say("starting Envoy …")
            envoy = await stack.enter_async_context(_envoy(places, edge))
            places |= {"edge": envoy.edge, "envoy-admin": envoy.admin}
        lines = try_lines.of(
            places, settings.policy, terminal.program(), store=settings.store_shown
        )
        print("\n".join(lines), flush=True)
        return await _until_stopped(stop, envoy)


async def _until_stopped(stop: asyncio.Event, envoy: Envoy | None) -> int:
    stopped = asyncio.ensure_future(stop.wait())
    if envoy is None:
        await stopped
        return 0
    ended = asyncio.ensure_future(envoy.wait())
    await asyncio.wait({stopped, ended}, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.wait({stopped}, timeout=_SIGNAL_LAG)
    if stop.is_set():
        ended.cancel()
        return 0
    stopped.cancel()
    terminal.complain(f"Envoy ended by itself, with status {ended.result()}")
    return 1


@contextlib.asynccontextmanager
async def _redis() -> AsyncIterator[str]:
    from ratelimitd.devkit.redis_server import run_redis

    async with contextlib.AsyncExitStack() as stack:
        with _told("--store redis: "):
            url = await stack.enter_async_context(run_redis())
        yield url


@contextlib.asynccontextmanager
async def _limiter(settings: Settings) -> AsyncIterator[dict[str, str]]:
    from ratelimitd.app import Service

    service = Service(settings)
    try:
        await service.start()
        yield {listener: addresses[0] for listener, addresses in service.addresses.items()}
    finally:
        # Whoever tries things does not wait: calls under way belong to nobody else.
        await service.stop(grace=0)


@contextlib.asynccontextmanager
async def _stub_api(bind: str) -> AsyncIterator[str]:
    from ratelimitd.devkit.stub_api import serve_stub_api

    async with contextlib.AsyncExitStack() as stack:
        try:
            address = await stack.enter_async_context(serve_stub_api(bind))
        except OSError as error:
            raise SettingsError(f"--api: {error}") from error
        yield address


@contextlib.asynccontextmanager
async def _envoy(places: dict[str, str], edge: str) -> AsyncIterator[Envoy]:
    from ratelimitd.devkit.envoy import run_envoy
    from ratelimitd.devkit.envoy_config import load, render
    from ratelimitd.devkit.samples import samples_dir

    config = render(
        load(samples_dir() / "envoy.yaml"),
        limiter=[places["grpc"]],
        http=places["http"],
        api=places["api"],
        edge=edge,
    )
    async with contextlib.AsyncExitStack() as stack:
        with _told(f"--edge {edge}: "):
            envoy = await stack.enter_async_context(run_envoy(config))
        yield envoy
