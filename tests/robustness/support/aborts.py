"""Clients of Envoy that go away before their answer, 500 a second, and others that stay."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
import time
from typing import TYPE_CHECKING, Final

from tests.e2e.support.crowd import Statuses, crowd_until
from tests.e2e.support.deployment import deploy, patient_config
from tests.robustness.outcomes import KEPT, LOST

if TYPE_CHECKING:
    from collections import Counter

    from tests.e2e.support.deployment import Config
    from tests.e2e.support.edge import Edge

RATE: Final = 500
"""Aborts a second."""
BYSTANDERS: Final = 4
LONGEST: Final = 0.004
"""Seconds after which a client has gone, at the most."""
_REQUEST: Final = (
    b"POST /v1/agents/a1/invoke HTTP/1.1\r\nhost: edge\r\n"
    b"authorization: Bearer gone\r\ncontent-length: 0\r\n\r\n"
)
_CLUSTER: Final = "cluster.limiter."
_LOSSES: Final = ("upstream_cx_destroy_remote", "upstream_cx_destroy_local_with_active_rq")
POLICY: Final = """
domain: agent-api
subject: {entry: api_key, scheme: bearer, default_tier: free}
meters: {requests: prepaid, address: prepaid}
tiers: {free: {requests: [1_000_000_000/hour]}}
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Storm:
    """What Envoy counted."""

    aborts: int
    resets: int
    """Calls to the limiter that Envoy took back."""
    closed: int
    """Connections that the limiter ended, or that ended under calls."""
    retired: int
    """Connections that Envoy ended itself, after the calls that it gives to one."""
    errors: int
    """Calls that failed, and requests that passed unlimited by it."""
    served: int
    """Bystanders' requests."""
    odd: int
    """Those of them that were not answered with 200."""

    @property
    def ending(self) -> str:
        """What the table has of it."""
        return LOST if self.closed or self.errors else KEPT


async def _abort(host: str, port: int, after: float) -> None:
    with contextlib.suppress(OSError):
        _, writer = await asyncio.open_connection(host, port)
        writer.write(_REQUEST)
        await asyncio.sleep(after)
        writer.transport.abort()


async def _aborts(address: str, seconds: float) -> int:
    """Abort at `RATE`, as evenly as the machine allows; what is late is not made up for."""
    host, _, port = address.rpartition(":")
    dice = random.Random(7)
    began, made = time.monotonic(), 0
    async with asyncio.TaskGroup() as group:
        while (now := time.monotonic() - began) < seconds:
            for _ in range(min(20, int(now * RATE) - made)):
                group.create_task(_abort(host, int(port), dice.uniform(0, LONGEST)))
                made += 1
            await asyncio.sleep(0.01)
    return made


async def _counts(edge: Edge) -> Counter[str]:
    return await edge.envoy.stats(r"^cluster\.(limiter\.upstream|agent_api\.ratelimit)")


def unbounded_config() -> Config:
    """Envoy's configuration as it would be without us: a connection has as many calls as come."""
    config = patient_config()
    clusters = config["static_resources"]["clusters"]
    (limiter,) = (each for each in clusters if each["name"] == "limiter")
    (options,) = limiter["typed_extension_protocol_options"].values()
    del options["common_http_protocol_options"]
    return config


async def storm(
    transport: str,
    program: str,
    seconds: float,
    *,
    aborting: bool = True,
    config: Config | None = None,
) -> Storm:
    """Run a limiter behind Envoy and let clients go away, or for comparison do not."""
    config = config or patient_config()
    async with deploy(POLICY, transport=transport, program=program, config=config) as deployment:
        edge = deployment.edge
        stop, seen, aborts = asyncio.Event(), Statuses(), 0
        crowd = asyncio.ensure_future(
            crowd_until(edge.envoy.edge, stop, callers=BYSTANDERS, key=lambda n: f"k{n % 50}")
        )
        await asyncio.sleep(0.3)
        before = await _counts(edge)
        if aborting:
            aborts = await _aborts(edge.envoy.edge, seconds)
        else:
            await asyncio.sleep(seconds)
        after = await _counts(edge)
        stop.set()
        seen.update(await crowd)
        after.subtract(before)
        return Storm(
            aborts=aborts,
            resets=after[f"{_CLUSTER}upstream_rq_tx_reset"],
            closed=sum(after[_CLUSTER + name] for name in _LOSSES),
            retired=after[f"{_CLUSTER}upstream_cx_max_requests"],
            errors=after["cluster.agent_api.ratelimit.error"],
            served=seen.total(),
            odd=seen.total() - seen[200],
        )
