"""The shipped Envoy between a client and two fakes, on free ports."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

from ratelimitd.devkit.envoy import Envoy, run_envoy
from ratelimitd.devkit.envoy_config import load, render
from ratelimitd.devkit.samples import samples_dir
from ratelimitd.devkit.stub_api import Arrivals, serve_stub_api
from tests.e2e.support import raw_http

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

RATELIMIT = "cluster.agent_api.ratelimit."
"""Where Envoy counts what became of the calls: ok, over_limit, error, failure_mode_allowed."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A running Envoy and the stub API behind it."""

    envoy: Envoy
    arrivals: Arrivals

    async def request(
        self,
        method: str = "POST",
        target: str = "/v1/agents/a1/invoke",
        headers: Sequence[tuple[str, bytes]] = (),
        body: bytes = b"",
        source: str = "",
    ) -> raw_http.Response:
        """One request through Envoy."""
        return await raw_http.request(self.envoy.edge, method, target, headers, body, source)

    async def outcomes(self) -> dict[str, int]:
        """Envoy's own counts of its calls to the limiter, those that are not 0."""
        stats = await self.envoy.stats(f"^{RATELIMIT}")
        return {name.removeprefix(RATELIMIT): count for name, count in stats.items() if count}


def shipped_config() -> dict[str, Any]:
    """envoy/envoy.yaml as it is in the repository."""
    return load(samples_dir() / "envoy.yaml")


def manager_of(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration of Envoy's HTTP connection manager within `config`."""
    (chain,) = config["static_resources"]["listeners"][0]["filter_chains"]
    found: dict[str, Any] = chain["filters"][0]["typed_config"]
    return found


@contextlib.asynccontextmanager
async def run_edge(
    *limiters: str,
    http: str = "",
    config: dict[str, Any] | None = None,
    edge: str = "127.0.0.1:0",
) -> AsyncIterator[Edge]:
    """Envoy with the shipped configuration (or `config`) that asks `limiters`.

    `http` is where one of them answers customers; "": nowhere.
    """
    arrivals = Arrivals()
    async with serve_stub_api(arrivals=arrivals) as api:
        places = {"http": http, "api": api, "edge": edge}
        rendered = render(config or shipped_config(), limiter=limiters, **places)
        async with run_envoy(rendered, concurrency=1) as envoy:
            yield Edge(envoy=envoy, arrivals=arrivals)
