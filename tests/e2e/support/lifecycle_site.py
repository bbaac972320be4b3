"""An API, a limiter at the end of a slow wire, and one Envoy after the other, each with a log."""

from __future__ import annotations

import contextlib
import copy
from typing import TYPE_CHECKING, Final

from ratelimitd.devkit.envoy import run_envoy
from ratelimitd.devkit.envoy_config import render
from tests.e2e.support.edge import manager_of, shipped_config
from tests.e2e.support.lifecycle import LOG_FORMAT, Request, read
from tests.e2e.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ratelimitd.devkit.envoy import Envoy
    from tests.e2e.support.deployment import Config
    from tests.support.redis.proxy import Proxy

PATIENCE: Final = 0.25
"""Seconds that a request waits for its decision."""
LOGGED_WITHIN: Final = 20.0


def config() -> Config:
    """The shipped configuration with an access log, where nothing passes undecided.

    What passes without a decision holds no lease, so it would be no part of what is shown here. And
    each release is sent twice, by another filter of the same kind. A request waits a little longer
    for its decision, lest a busy machine have nothing to show.
    """
    found = copy.deepcopy(shipped_config())
    manager = manager_of(found)
    asking, done, *rest = manager["http_filters"]
    asks = asking["typed_config"]
    asks |= {"failure_mode_deny": True, "timeout": f"{PATIENCE:g}s"}
    retries = asks["rate_limit_service"]["grpc_service"]["retry_policy"]
    retries["retry_back_off"]["max_interval"] = asks["timeout"]
    again = copy.deepcopy(done)
    again["name"] += "/again"
    manager["http_filters"] = [asking, done, again, *rest]
    return found


def _logging(configuration: Config, log: Path) -> Config:
    found = copy.deepcopy(configuration)
    kind = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
    told = {"@type": kind, "path": str(log), "log_format": {"json_format": LOG_FORMAT}}
    manager_of(found)["access_log"] = [{"name": "envoy.access_loggers.file", "typed_config": told}]
    return found


class Site:
    """All that is between clients and counts, but for the limiter's store."""

    def __init__(self, api: str, wire: Proxy, folder: Path) -> None:
        self._api, self._wire, self._folder = api, wire, folder
        self._stack = contextlib.AsyncExitStack()
        self.envoy: Envoy | None = None
        self.logs: list[Path] = []

    async def open(self) -> None:
        """Start an Envoy with a log of its own."""
        self.logs.append(self._folder / f"access.{len(self.logs)}")
        configuration = _logging(config(), self.logs[-1])
        rendered = render(configuration, limiter=[self._wire.address], api=self._api)
        flags = ("--file-flush-interval-msec", "20")
        self.envoy = await self._stack.enter_async_context(run_envoy(rendered, flags=flags))

    async def kill(self) -> None:
        """Kill the Envoy, whose requests end with it, and start another."""
        assert self.envoy
        self.envoy.process.kill()
        self.envoy = None
        await self.open()

    async def close(self) -> None:
        """Stop them all."""
        await self._stack.aclose()

    def requests(self) -> Iterator[Request]:
        """Yield what the logs tell so far."""
        for log in self.logs:
            # One that was killed may have left half a line.
            for line in log.read_text("utf-8").splitlines(keepends=True) if log.exists() else ():
                if line.endswith("\n"):
                    yield read(line)

    async def all_logged(self) -> None:
        """Wait until the last Envoy has nothing under way and its log is written."""
        envoy = self.envoy
        assert envoy

        async def written() -> bool:
            stats = await envoy.stats(r"^http\.edge\.downstream_rq_(total|active)$")
            lines = self.logs[-1].read_bytes().count(b"\n")
            return not stats["http.edge.downstream_rq_active"] and (
                lines == stats["http.edge.downstream_rq_total"]
            )

        await wait_until(written, description="every request is logged", within=LOGGED_WITHIN)
