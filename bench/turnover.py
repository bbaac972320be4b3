"""What it costs that Envoy replaces its connections to the limiter every so many calls.

    python -m bench.turnover [TRANSPORT ...]

The shipped envoy.yaml beside itself without that bound, and without the connection in reserve, in
front of one limiter, round by round. Every request is denied, so that no API takes part. Prints the
CPU of the limiter and of Envoy a decision at full speed, and latencies at an easy pace.
"""

from __future__ import annotations

import asyncio
import copy
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from bench import machine, servers
from ratelimitd.devkit.envoy import run_envoy
from ratelimitd.devkit.envoy_config import load, render
from ratelimitd.devkit.samples import samples_dir

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ratelimitd.devkit.envoy import Envoy

ROUNDS = 15
REQUESTS = 6_000
"""Of a round, at full speed; and a quarter of it at an easy pace."""
CONNECTIONS = 4
AT_ONCE = 32
"""Requests that a connection at full speed has under way: written together, answered in turn."""
REQUEST = b"POST / HTTP/1.1\r\nhost: edge\r\nx-api-key: k\r\ncontent-length: 0\r\n\r\n"
ANSWER = b"HTTP/1.1 "
POLICY = """\
domain: agent-api
subject: {entry: api_key, default_tier: none}
meters: {requests: prepaid, address: prepaid}
tiers: {none: {requests: [1/day]}}
"""
PATIENCE = "5s"
"""The time that a call may take here: a stall of the machine is no pass."""
NOWHERE = "127.0.0.1:9"
Config = dict[str, Any]


class Cost(NamedTuple):
    """One round of one configuration."""

    limiter: float
    """Microseconds of CPU a decision."""
    envoy: float
    p50: float
    """Milliseconds."""
    p99: float
    p999: float
    connections: int
    """To the limiter, in that round."""


def configurations() -> dict[str, Config]:
    """Return what is compared."""
    shipped = load(samples_dir() / "envoy.yaml")
    (chain,) = shipped["static_resources"]["listeners"][0]["filter_chains"]
    ratelimit, *_ = chain["filters"][0]["typed_config"]["http_filters"]
    ratelimit["typed_config"]["timeout"] = PATIENCE
    grpc = ratelimit["typed_config"]["rate_limit_service"]["grpc_service"]
    grpc["retry_policy"]["retry_back_off"]["max_interval"] = PATIENCE  # a try's time as well
    without, bare = copy.deepcopy(shipped), copy.deepcopy(shipped)
    for config in (without, bare):
        _limiter(config).pop("preconnect_policy")
    (options,) = _limiter(without)["typed_extension_protocol_options"].values()
    options.pop("common_http_protocol_options")
    return {"one connection": without, "bounded": bare, "bounded, one in reserve": shipped}


def _limiter(config: Config) -> Config:
    clusters: list[Config] = config["static_resources"]["clusters"]
    return next(cluster for cluster in clusters if cluster["name"] == "limiter")


def cpu(pid: int) -> float:
    """Return the CPU seconds of a process so far, as the scheduler counts them."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


class _Caller(asyncio.Protocol):
    """Sends `at_once` requests together, and the next ones when all are answered."""

    def __init__(self, requests: int, at_once: int) -> None:
        self.latencies: list[float] = []
        self.done = asyncio.get_running_loop().create_future()
        self._left, self._at_once, self._open = requests, at_once, 0
        self._rest = b""
        self._began = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def _send(self) -> None:
        if self._left <= 0:
            self.done.set_result(None)
            self._transport.close()
            return
        self._open = min(self._left, self._at_once)
        self._left -= self._open
        self._began = time.perf_counter()
        self._transport.write(REQUEST * self._open)

    def data_received(self, data: bytes) -> None:
        whole = self._rest + data
        self._rest = whole[-len(ANSWER) + 1 :]
        self._open -= whole.count(ANSWER)
        if self._open <= 0:
            self.latencies.append(time.perf_counter() - self._began)
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or RuntimeError("Envoy hung up"))


async def calls(address: str, requests: int, at_once: int) -> list[float]:
    """Make requests; return how long each lot took."""
    host, _, port = address.rpartition(":")
    callers: list[_Caller] = []
    for _ in range(CONNECTIONS):
        _, caller = await asyncio.get_running_loop().create_connection(
            lambda: _Caller(requests // CONNECTIONS, at_once), host, int(port)
        )
        callers.append(caller)
    async with asyncio.timeout(120):
        await asyncio.gather(*(caller.done for caller in callers))
    return sorted(latency for caller in callers for latency in caller.latencies)


async def measure(envoy: Envoy, limiter: servers.Running) -> Cost:
    """Measure one round."""
    opened, denied = "cluster.limiter.upstream_cx_total", "cluster.agent_api.ratelimit.over_limit"
    pids = (limiter.pid, envoy.process.pid)
    counts = await envoy.stats(f"{opened}|{denied}")
    before = [cpu(pid) for pid in pids]
    await calls(envoy.edge, REQUESTS, AT_ONCE)
    spent = [(cpu(pid) - was) / REQUESTS * 1e6 for pid, was in zip(pids, before, strict=True)]
    after = await envoy.stats(f"{opened}|{denied}")
    after.subtract(counts)
    if after[denied] != REQUESTS:
        msg = f"of {REQUESTS} requests {after[denied]} were denied: {after}"
        raise RuntimeError(msg)
    latencies = await calls(envoy.edge, REQUESTS // 4, 1)
    p50, p99, p999 = (latencies[int(len(latencies) * part)] * 1e3 for part in (0.5, 0.99, 0.999))
    return Cost(spent[0], spent[1], p50, p99, p999, after[opened])


async def compare(transport: str) -> dict[str, list[Cost]]:
    """Measure all configurations in turn."""
    found: dict[str, list[Cost]] = {}
    with tempfile.TemporaryDirectory() as folder:
        policy = Path(folder, "policy.yaml")
        await asyncio.to_thread(policy.write_text, POLICY, "utf-8")
        command = servers.ratelimitd(transport, policy=policy)
        async with AsyncExitStack() as stack:
            limiter = stack.enter_context(servers.running(command))
            envoys: dict[str, Envoy] = {}
            for name, config in configurations().items():
                rendered = render(config, limiter=[limiter.target], api=NOWHERE)
                envoys[name] = await stack.enter_async_context(run_envoy(rendered, concurrency=1))
                await calls(envoys[name].edge, REQUESTS // 3, AT_ONCE)
            for _ in range(ROUNDS):
                for name, envoy in envoys.items():
                    found.setdefault(name, []).append(await measure(envoy, limiter))
    return found


def tell(transport: str, costs: Mapping[str, list[Cost]]) -> None:
    """Print the medians, and CPU as a ratio round by round."""
    first = next(iter(costs.values()))
    for name, rounds in costs.items():
        pairs = list(zip(rounds, first, strict=True))
        limiter = median(ours.limiter / theirs.limiter for ours, theirs in pairs)
        envoy = median(ours.envoy / theirs.envoy for ours, theirs in pairs)
        middle = Cost(*(median(column) for column in zip(*rounds, strict=True)))
        print(
            f"{transport}, {name}: limiter {middle.limiter:.1f} µs (×{limiter:.3f}), "
            f"Envoy {middle.envoy:.1f} µs (×{envoy:.3f}), p50 {middle.p50:.2f} ms, "
            f"p99 {middle.p99:.2f}, p99.9 {middle.p999:.2f}, {middle.connections:.0f} connections"
        )


def main(transports: list[str]) -> None:
    """Measure and print."""
    print(machine.describe())
    for transport in transports or ["h2corn", "grpcio", "pyvoy"]:
        tell(transport, asyncio.run(compare(transport)))


if __name__ == "__main__":
    main(sys.argv[1:])
