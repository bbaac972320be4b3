"""What tests of tokens and leases share: the stores, direct questions, and what was used."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.e2e.support.deployment import deploy
from tests.e2e.support.waiting import wait_until
from tests.rpc.support.calls import describe, question
from tests.support.redis.server import single

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ratelimitd._gen.envoy.extensions.common.ratelimit.v3.ratelimit_pb2 import (
        RateLimitDescriptor,
    )
    from ratelimitd._gen.envoy.service.ratelimit.v3.rls_pb2 import RateLimitResponse
    from tests.e2e.support.deployment import Config, Deployment
    from tests.e2e.support.limiter import Limiter

STORES: Final = ("memory", "redis")
BACKENDS: Final = ("memory-h2corn", "redis-pyvoy")
"""Each store, and the transports that are served by default with and without pyvoy."""
PATIENT: Final = ("--store-timeout", "5s")
"""These tests ask what is counted, not how fast: without it a busy machine's Redis would now and
then be given up on, and a call be counted in the process."""


@contextlib.contextmanager
def store_of(kind: str) -> Iterator[str]:
    """Run what a limiter needs to count in a store of this kind; the value is for `--store`."""
    if kind == "memory":
        yield kind
        return
    with single("redis") as server:
        yield server.url


class Backend(NamedTuple):
    """What a limiter runs on."""

    store: str
    """For `--store`."""
    transport: str

    def serves(
        self, policy: str | Path, config: Config | None = None
    ) -> contextlib.AbstractAsyncContextManager[Deployment]:
        """Run a limiter on it behind Envoy."""
        return deploy(
            policy, transport=self.transport, store=self.store, flags=PATIENT, config=config
        )


@contextlib.contextmanager
def backend_of(name: str) -> Iterator[Backend]:
    """Run what a limiter on one of `BACKENDS` needs."""
    kind, _, transport = name.partition("-")
    with store_of(kind) as store:
        yield Backend(store, transport)


async def say(
    limiter: Limiter, *descriptors: RateLimitDescriptor, domain: str = "agent-api"
) -> RateLimitResponse:
    """Ask the limiter about these in one call, past Envoy."""
    return await limiter.ask(question(*descriptors, domain=domain))


async def left(
    limiter: Limiter, meter: str, key: str, *entries: str, domain: str = "agent-api"
) -> int:
    """Return what a key has left of a meter, by a peek."""
    peek = describe(f"api_key={key}", f"meter={meter}", *entries, hits=0)
    (status,) = (await say(limiter, peek, domain=domain)).statuses
    return status.limit_remaining


async def settles(
    limiter: Limiter, meter: str, key: str, at: int, *entries: str, domain: str = "agent-api"
) -> None:
    """Wait until so much is left: Envoy reports after the client has its answer."""
    seen = []

    async def settled() -> bool:
        seen.append(await left(limiter, meter, key, *entries, domain=domain))
        return seen[-1] == at

    try:
        await wait_until(settled, description=f"{at} {meter} left")
    except AssertionError as error:
        raise AssertionError(f"{error}, but {seen[-1]}") from None
