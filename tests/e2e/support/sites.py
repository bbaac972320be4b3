"""The demo three times, with each store: a limiter, a real Envoy and the stub API, side by side."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import grpc.aio

from ratelimitd._gen.ratelimitd.v1 import admin_pb2 as pb
from ratelimitd._gen.ratelimitd.v1.admin_pb2_grpc import AdminServiceStub
from tests.e2e.support.counting import say
from tests.e2e.support.deployment import Deployment, deploy
from tests.e2e.support.promised import bearer
from tests.rpc.support.calls import OK, describe
from tests.support.redis.server import single

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.e2e.support.raw_http import Response

STORES: Final = ("memory", "file", "redis")
INVOKE: Final = "/v1/agents/a1/invoke"
_numbers = itertools.count()


class Site(NamedTuple):
    """One of them."""

    store: str
    deployment: Deployment

    @property
    def edge(self) -> str:
        """Where Envoy serves customers."""
        return self.deployment.edge.envoy.edge

    async def key(self, tier: str, *limits: str) -> str:
        """Register a new key, with METER=RATE of its own; return it."""
        key = f"sk-{tier}-{next(_numbers)}"
        record = pb.KeyRecord(tier=tier)
        for meter, _, rate in (limit.partition("=") for limit in limits):
            record.limits.add(meter=meter, rate=rate)
        request = pb.AddKeyRequest(key=pb.Key(api_key=key), record=record)
        await self.administer("AddKey", request)
        return key

    async def administer(self, method: str, request: Any) -> Any:  # noqa: ANN401 - its messages
        """Ask the administrators' listener."""
        async with grpc.aio.insecure_channel(self.deployment.limiter.admin) as channel:
            return await getattr(AdminServiceStub(channel), method)(request)

    async def request(self, key: str, target: str = INVOKE, body: bytes = b"") -> Response:
        """Make a customer's request."""
        return await self.deployment.edge.request(target=target, headers=bearer(key), body=body)

    async def usage(self, key: str) -> dict[str, Any]:
        """Return what the key has used, as its holder is told."""
        answer = await self.deployment.edge.request("GET", "/v1/usage", bearer(key))
        assert answer.status == 200, answer.body
        told: dict[str, Any] = json.loads(answer.body)
        return told

    async def use(self, key: str, meter: str, hits: int | None = None) -> None:
        """Use something up, past Envoy; it has to be there."""
        descriptor = describe(f"api_key={key}", f"meter={meter}", hits=hits)
        assert (await say(self.deployment.limiter, descriptor)).overall_code == OK


Promise = Callable[[Site], Awaitable[None]]
"""Fails by AssertionError where it does not hold."""


async def everywhere(sites: list[Site], promise: Promise) -> None:
    """See whether a promise holds on each site, all at the same time."""
    failed = await asyncio.gather(*(promise(site) for site in sites), return_exceptions=True)
    for site, error in zip(sites, failed, strict=True):
        if isinstance(error, BaseException):
            error.add_note(f"with the store: {site.store}")
            raise error


@contextlib.asynccontextmanager
async def run_sites(folder: Path, *flags: str) -> AsyncIterator[list[Site]]:
    """Start all, at once."""
    async with contextlib.AsyncExitStack() as stack:
        redis = stack.enter_context(single("redis"))
        places = {"memory": "memory", "file": f"file:{folder / 'counts.db'}", "redis": redis.url}
        wanted = [deploy(store=places[store], flags=flags) for store in STORES]
        running = await asyncio.gather(*map(stack.enter_async_context, wanted))
        yield [Site(store, each) for store, each in zip(STORES, running, strict=True)]
