"""ratelimitd as operators run it: `python -m ratelimitd serve`, a process of its own on free ports.

Of the limiter, the test's process has the generated messages alone: what is proved is what ships.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import sys
import tempfile
import urllib.request
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc.aio

from ratelimitd._gen.envoy.service.ratelimit.v3.rls_pb2 import RateLimitRequest, RateLimitResponse
from ratelimitd.devkit.samples import samples_dir
from tests.support.interpreters import interpreter

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Sequence

READY_WITHIN: Final = 20.0
"""Seconds. A start takes half of one; a machine that compiles beside it takes longer."""
GONE_WITHIN: Final = 10.0
SCRAPED_WITHIN: Final = 60.0
"""Of a loop that is stopped as well, where that is planted."""
METHOD: Final = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"
ANY_PORT: Final = "127.0.0.1:0"
SHIPPED_POLICY: Final = samples_dir() / "policy.yaml"
AS_SHIPPED: Final = "from ratelimitd.__main__ import main; main()"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limiter:
    """A limiter that has said it is ready."""

    address: str
    """Where it serves gRPC."""
    http: str
    admin: str
    process: Process
    log: Path

    async def terminate(self) -> int:
        """Send SIGTERM and return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(GONE_WITHIN):
            return await self.process.wait()

    async def charge(self, hits: int, **entries: str) -> None:
        """Use up `hits` past Envoy; they have to be free."""
        request = RateLimitRequest(domain="agent-api")
        descriptor = request.descriptors.add()
        for name, value in entries.items():
            descriptor.entries.add(key=name, value=value)
        descriptor.hits_addend.value = hits
        assert (await self.ask(request)).overall_code == RateLimitResponse.OK

    async def ask(self, request: RateLimitRequest) -> RateLimitResponse:
        """Ask past Envoy, once."""
        async with grpc.aio.insecure_channel(self.address) as channel:
            call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
            answer = await call(request.SerializeToString(), timeout=GONE_WITHIN)
        return RateLimitResponse.FromString(answer)

    async def metrics(self) -> str:
        """Return what a scraper gets."""

        def scrape() -> str:
            where = f"http://{self.admin}/metrics"
            with urllib.request.urlopen(where, timeout=SCRAPED_WITHIN) as answer:
                text: str = answer.read().decode()
                return text

        return await asyncio.to_thread(scrape)

    async def figures(self) -> dict[str, float]:
        """Return the sums of each metric's series, without `ratelimitd_`, from one scrape."""
        sums: dict[str, float] = {}
        for line in (await self.metrics()).splitlines():
            if not line.startswith("#"):
                series, _, value = line.rpartition(" ")
                name = series.partition("{")[0].removeprefix("ratelimitd_")
                sums[name] = sums.get(name, 0) + float(value)
        return sums

    async def peek(self, *entries: str) -> dict[str, Any]:
        """What `ratelimitd decide --peek --json` says of one descriptor."""
        asking = ("--target", self.address, "--peek", "--json", *entries)
        answer: dict[str, Any] = json.loads(await ratelimitd("decide", *asking, ends=(0, 1)))
        return answer

    async def remaining(self, *entries: str) -> int:
        """What a peek says is left of the limit that it tells of."""
        (status,) = (await self.peek(*entries))["statuses"]
        left: int = status["remaining"]
        return left


async def ratelimitd(*words: str, ends: tuple[int, ...] = (0,)) -> str:
    """Run a command to its end, which is one of `ends`; return what it prints."""
    command = (sys.executable, "-m", "ratelimitd", *words)
    run = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    output, complaint = await run.communicate()
    assert run.returncode in ends, complaint.decode()
    return output.decode()


@contextlib.asynccontextmanager
async def run_limiter(
    policy: str | Path = SHIPPED_POLICY,
    *,
    transport: str = "h2corn",
    listen: str = ANY_PORT,
    store: str = "memory",
    program: str = AS_SHIPPED,
    flags: Sequence[str] = (),
) -> AsyncIterator[Limiter]:
    """Serve `policy`, a file or its text; gone on exit.

    `program` is Python that ends in running the command line: a twin plants its fault there.
    """
    with tempfile.TemporaryDirectory(prefix="ratelimitd-e2e-") as name:
        folder = Path(name)
        if isinstance(policy, str):
            (folder / "policy.yaml").write_text(policy, "utf-8")
            policy = folder / "policy.yaml"
        usual = ("--transport", transport, "--listen", listen, "--store", store)
        with (folder / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(interpreter(transport), "-c", program, "serve", "--policy", policy, *usual),
                *("--http", ANY_PORT, "--admin", ANY_PORT, *flags),
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=log,
                env={key: value for key, value in os.environ.items() if "RATELIMITD_" not in key},
            )
        try:
            yield await _when_ready(process, folder / "log")
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def _when_ready(process: Process, log: Path) -> Limiter:
    """Read the ready line: `ratelimitd 0.1.0 ready: grpc A, http B, admin C`."""
    assert process.stdout
    async with asyncio.timeout(READY_WITHIN):
        line = (await process.stdout.readline()).decode()
    assert line, await asyncio.to_thread(log.read_text, "utf-8")
    places = dict(place.split(" ") for place in line.strip().partition(": ")[2].split(", "))
    return Limiter(
        address=places["grpc"],
        http=places["http"],
        admin=places["admin"],
        process=process,
        log=log,
    )
