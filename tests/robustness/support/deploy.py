"""Restarts while customers go on calling through Envoy, each limiter always at its own address."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import signal
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from tests.e2e.support.crowd import Statuses, crowd_until
from tests.e2e.support.deployment import patient_config
from tests.e2e.support.edge import run_edge
from tests.e2e.support.limiter import AS_SHIPPED, Limiter, run_limiter
from tests.e2e.support.waiting import wait_until
from tests.robustness.outcomes import KEPT, LOST
from tests.robustness.support.aborts import POLICY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.e2e.support.deployment import Config
    from tests.e2e.support.edge import Edge

RATE: Final = 1_000
"""Requests a second, if the machine can."""
CALLERS: Final = 32
PATIENCE: Final = 60.0
RELOADED: Final = 'ratelimitd_reloads_total{outcome="succeeded"} 1.0'
_CLUSTER: Final = "cluster.limiter."
_FAILED: Final = ("5xx", "timeout", "pending_overflow", "retry_overflow", "retry_limit_exceeded")
"""Ends of a call to the limiter that are none of its decisions, retries included."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """What Envoy counted."""

    calls: int
    """Requests that were answered."""
    errors: int
    """Calls to the limiter that failed."""
    unlimited: int
    """Requests that passed because of it."""
    failed: dict[str, int]
    """`upstream_rq_*` of the limiter's cluster that were not 0, of those that tell of failure."""
    retries: int
    """Calls that were refused or met no process, and were asked again elsewhere."""
    odd: int
    """Answers but 200, and requests that Envoy counted neither as decided nor as failed."""

    @property
    def ending(self) -> str:
        """What the table has of it."""
        return LOST if self.errors or self.unlimited or self.failed or self.odd else KEPT


class Place:
    """An address that is kept for one limiter after the other."""

    def __init__(self, transport: str, program: str, drain: str) -> None:
        """Take a free port, so that nobody else gets it between two limiters."""
        self._transport, self._program, self._drain = transport, program, drain
        self._kept = socket.socket()
        self._kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._kept.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._kept.getsockname()[1]}"
        self._running = contextlib.AsyncExitStack()
        self.limiter: Limiter | None = None

    async def start(self) -> Limiter:
        """Return once a limiter is ready here."""
        self.limiter = await self._running.enter_async_context(
            run_limiter(
                POLICY,
                transport=self._transport,
                listen=self.address,
                program=self._program,
                flags=("--drain", self._drain),
            )
        )
        return self.limiter

    async def restart(self) -> None:
        """SIGTERM, and the next one as soon as that has ended."""
        assert self.limiter
        await self.limiter.terminate()
        await self._running.aclose()
        await self.start()

    async def close(self) -> None:
        """End what runs here, and let the port go."""
        await self._running.aclose()
        self._kept.close()


@dataclasses.dataclass(frozen=True, slots=True)
class Fleet:
    """Limiters behind one Envoy, under load."""

    places: list[Place]
    edge: Edge

    async def whole(self) -> None:
        """Wait until Envoy finds all of them well."""
        gauge = f"{_CLUSTER}membership_healthy"

        async def well() -> bool:
            return (await self.edge.envoy.stats(gauge))[gauge] == len(self.places)

        await wait_until(well, description="every limiter is well", within=PATIENCE)

    async def calls(self) -> int:
        """Return how many calls have ended."""
        counts = await self.edge.outcomes()
        return counts.get("ok", 0) + counts.get("error", 0)

    async def more(self, calls: int) -> None:
        """Wait until so many more calls have ended."""
        wanted = await self.calls() + calls

        async def enough() -> bool:
            return await self.calls() >= wanted

        await wait_until(enough, description=f"{calls} more calls", within=PATIENCE)


async def _outcome(edge: Edge, seen: Statuses) -> Deployed:
    counts = await edge.outcomes()
    limiter = await edge.envoy.stats(rf"^{_CLUSTER}upstream_rq_")
    names = (f"upstream_rq_{end}" for end in _FAILED)
    errors = counts.get("error", 0)
    return Deployed(
        calls=seen.total(),
        errors=errors,
        unlimited=counts.get("failure_mode_allowed", 0),
        failed={name: count for name in names if (count := limiter[_CLUSTER + name])},
        retries=limiter[f"{_CLUSTER}upstream_rq_retry"],
        odd=seen.total() - seen[200] + abs(seen.total() - counts["ok"] - errors),
    )


def slow_news_config() -> Config:
    """Envoy's configuration but for the line that has its threads told of health at once."""
    config = patient_config()
    clusters = config["static_resources"]["clusters"]
    (limiter,) = (each for each in clusters if each["name"] == "limiter")
    del limiter["common_lb_config"]["update_merge_window"]
    return config


Act = Callable[[Fleet], Awaitable[None]]
"""Does something to limiters that are under load."""


async def under_load(
    size: int,
    transport: str,
    act: Act,
    *,
    program: str = AS_SHIPPED,
    drain: str = "1s",
    config: Config | None = None,
) -> Deployed:
    """Put load on limiters behind Envoy, act on them, and return what Envoy counted of it."""
    async with contextlib.AsyncExitStack() as stack:
        places = [Place(transport, program, drain) for _ in range(size)]
        for place in places:
            stack.push_async_callback(place.close)
            await place.start()
        addresses = [place.address for place in places]
        edge = await stack.enter_async_context(
            run_edge(*addresses, config=config or patient_config())
        )
        limiters = Fleet(places, edge)
        await limiters.whole()
        async with _customers(edge) as seen:
            await limiters.more(RATE // 2)
            await act(limiters)
            await limiters.more(RATE // 2)
        return await _outcome(edge, seen)


@contextlib.asynccontextmanager
async def _customers(edge: Edge) -> AsyncIterator[Statuses]:
    """Keep calling while the block runs; the value is full once it has ended."""
    stop, seen = asyncio.Event(), Statuses()
    calling = asyncio.ensure_future(
        crowd_until(edge.envoy.edge, stop, callers=CALLERS, key=lambda n: f"k{n % 50}", rate=RATE)
    )
    try:
        yield seen
    finally:
        stop.set()
        seen.update(await calling)


def rolling(restarts: int, calls: int = 0) -> Act:
    """Restart one limiter after the other, over at least so many calls."""

    async def act(limiters: Fleet) -> None:
        for number in range(restarts):
            await limiters.places[number % len(limiters.places)].restart()
            await limiters.whole()
        await limiters.more(calls - await limiters.calls())

    return act


async def reload(limiters: Fleet) -> None:
    """SIGHUP to the first limiter, until it has read its policy again."""
    limiter = limiters.places[0].limiter
    assert limiter
    limiter.process.send_signal(signal.SIGHUP)

    async def read() -> bool:
        return RELOADED in await limiter.metrics()

    await wait_until(read, description="the policy was read again", within=PATIENCE)
