"""Serves a whole limiter, or any handlers, on each transport. A new transport is one line here."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from ratelimitd.app import Service
from ratelimitd.clock import ManualClock
from ratelimitd.settings import Address, Settings
from ratelimitd.transports.grpc_asgi import GrpcApplication
from ratelimitd.transports.grpcio import Grpcio
from ratelimitd.transports.h2corn import H2corn, grpc_config, hide_banner
from tests.support.ops import MINUTE, NEW_YEAR

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from ratelimitd.stores.ports import Counters
    from ratelimitd.transports.handlers import Handlers
    from ratelimitd.transports.ports import Transport

LOOPBACK = Address("127.0.0.1", 0)
NOON = NEW_YEAR + 720 * MINUTE + 30_500_000
"""Half past a minute and half a second: no window begins here."""
POLICY = """\
domain: test
subject: {entry: api_key, default_tier: plain, missing: allow}
meters: {requests: prepaid, tokens: postpaid, concurrent: {lease: 15m}}
tiers:
  plain:
    requests: [10/hour, 5/minute]
    concurrent: 2
    tokens: 100/month
keys:
  - {key: large, tier: plain, limits: {requests: 1M/hour}}
exempt: [{route: health}]
headers: {families: [x-ratelimit], report: requests/hour}
"""


def _h2corn(handlers: Handlers, binds: tuple[str, ...]) -> Transport:
    hide_banner()
    application = GrpcApplication(handlers.paths())
    return H2corn(application, grpc_config(binds, handlers.services), application.lose_patience)


TRANSPORTS: dict[str, Callable[[Handlers, tuple[str, ...]], Transport]] = {
    "h2corn": _h2corn,
    "grpcio": Grpcio,
}
"""Each transport by its name in `--transport`: handlers and addresses to something that serves."""


def policy(*limits: str, families: str = "x-ratelimit", more: str = "") -> str:
    """Return a policy with one tier of these limits, spelled in the long form."""
    lines = "\n".join(f"      - {limit}" for limit in limits)
    return (
        "domain: test\n"
        "subject: {entry: api_key, default_tier: plain}\n"
        "meters: {requests: prepaid, tokens: postpaid, concurrent: {lease: 15m}}\n"
        f"tiers:\n  plain:\n    limits:\n{lines}\n"
        f"headers: {{families: [{families}]}}\n{more}"
    )


def prepare(
    transport: str,
    folder: Path,
    text: str = POLICY,
    clock: ManualClock | None = None,
    **settings: Any,  # noqa: ANN401 - the settings' own fields
) -> Service:
    """Return a service on free ports that has not started."""
    hide_banner()
    file = folder / "policy.yaml"
    file.write_text(text)
    free: dict[str, Any] = {"listen": (LOOPBACK,), "http": LOOPBACK, "admin": LOOPBACK}
    wanted = Settings(policy=file, transport=transport, **{**free, **settings})
    return Service(wanted, clock or ManualClock(NOON))


@contextlib.asynccontextmanager
async def running(
    transport: str,
    folder: Path,
    text: str = POLICY,
    clock: ManualClock | None = None,
    **settings: Any,  # noqa: ANN401 - the settings' own fields
) -> AsyncIterator[Service]:
    """Run a service while the test lasts."""
    service = prepare(transport, folder, text, clock, **settings)
    await service.start()
    try:
        yield service
    finally:
        await service.stop(grace=0)


def count_by(service: Service, store: Counters) -> None:
    """Let a running service count by another store, wherever it asks one."""
    standing_in = service._failure
    holders = (service.limiter, standing_in, standing_in._replay, service.reservations)
    for holder in holders:
        holder._counters = store


@contextlib.asynccontextmanager
async def serving(transport: str, handlers: Handlers) -> AsyncIterator[str]:
    """Serve any handlers; yields the address."""
    server = TRANSPORTS[transport](handlers, (str(LOOPBACK),))
    (address,) = await server.start()
    try:
        yield address
    finally:
        await server.stop(grace=0)
