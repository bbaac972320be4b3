"""The limiter as a process behind the shipped Envoy: all is real but the API and its clients."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from typing import TYPE_CHECKING, Any

from tests.e2e.support.edge import Edge, manager_of, run_edge, shipped_config
from tests.e2e.support.limiter import AS_SHIPPED, SHIPPED_POLICY, Limiter, run_limiter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

PATIENCE = "5s"
"""The time that a call may take in these tests. They ask what is answered, not how fast: on a busy
machine the 100 ms of production would now and then let a request pass unlimited."""

Config = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A limiter and the Envoy that asks it."""

    limiter: Limiter
    edge: Edge


def rate_limit_filter(config: Config) -> Config:
    """The configuration of Envoy's rate limit filter within `config`."""
    found: Config = manager_of(config)["http_filters"][0]["typed_config"]
    return found


def add_filter_before(config: Config, http_filter: Config) -> None:
    """Put `http_filter` before the rate limit filter."""
    manager_of(config)["http_filters"].insert(0, http_filter)


def patient_config() -> Config:
    """The shipped configuration, but for the time that a call may take."""
    config = copy.deepcopy(shipped_config())
    ratelimit = rate_limit_filter(config)
    ratelimit["timeout"] = PATIENCE
    # Also the time that one attempt may take: docs/envoy.md, traps.
    policy = ratelimit["rate_limit_service"]["grpc_service"]["retry_policy"]
    policy["retry_back_off"]["max_interval"] = PATIENCE
    return config


@contextlib.asynccontextmanager
async def deploy(
    policy: str | Path = SHIPPED_POLICY,
    *,
    transport: str = "h2corn",
    config: Config | None = None,
    listen: str = "127.0.0.1:0",
    store: str = "memory",
    program: str = AS_SHIPPED,
    flags: Sequence[str] = (),
) -> AsyncIterator[Deployment]:
    """One limiter with `policy` behind one Envoy."""
    async with (
        run_limiter(
            policy,
            transport=transport,
            listen=listen,
            store=store,
            program=program,
            flags=flags,
        ) as limiter,
        run_edge(limiter.address, http=limiter.http, config=config or patient_config()) as edge,
    ):
        yield Deployment(limiter=limiter, edge=edge)
