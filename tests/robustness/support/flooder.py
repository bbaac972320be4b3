"""Whoever floods, as a process of its own: what that costs is neither the limiter's nor others'.

It takes one order a line and answers each with what came of it. An order without an address floods
a sink of its own: the same load for the machine, and none for the limiter.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import sys
import time
from asyncio.subprocess import PIPE
from typing import TYPE_CHECKING, Any, Final

from tests.robustness.support.floods import FLOODS
from tests.robustness.support.frames import HELLO
from tests.robustness.support.peer import RATE, TICK, connected

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Iterator

_READY_WITHIN: Final = 20.0


@dataclasses.dataclass(slots=True)
class Flooded:
    """What came of an order."""

    units: int = 0
    """That were sent."""
    size: int = 0
    """Bytes of them."""
    cuts: int = 0
    """How often the server ended the connection."""


@dataclasses.dataclass(frozen=True, slots=True)
class Flooder:
    """The process, for whoever gives the orders."""

    _process: Process

    async def flood(
        self, row: str, address: str | None, seconds: float, *, wait: float = 0
    ) -> Flooded:
        """Flood an address, or the sink; `wait` is for the end of the connection, afterwards."""
        order = {"row": row, "address": address, "seconds": seconds, "wait": wait}
        assert self._process.stdin
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        return Flooded(**await self._line())

    async def _line(self) -> Any:  # noqa: ANN401
        assert self._process.stdout
        line = await self._process.stdout.readline()
        assert line, "the flooder has ended"
        return json.loads(line)


@contextlib.asynccontextmanager
async def run_flooder() -> AsyncIterator[Flooder]:
    """Start the process; gone on exit."""
    command = (sys.executable, "-m", __name__)
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    try:
        flooder = Flooder(process)
        async with asyncio.timeout(_READY_WITHIN):
            assert await flooder._line() == "ready"
        yield flooder
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while await reader.read(64 << 10):
            pass
    writer.close()


async def _obey(row: str, address: str, seconds: float, wait: float) -> Flooded:
    """Flood; whoever is cut off comes back until the time is over."""
    flood, done = FLOODS[row], Flooded()
    ends = time.monotonic() + seconds
    while (left := ends - time.monotonic()) > 0:
        if flood.apart:
            return await _one_after_another(address, flood.units(), ends)
        async with connected(address, HELLO + flood.begin, reads=flood.reads) as peer:
            peer.decodes = False
            done.size += await peer.flood(flood.units(), left)
            peer.start_reading()
            await peer.cut_off_within(0 if done.cuts else wait)
            done.units += peer.sent
            done.cuts += peer.is_cut_off
        if not done.cuts:
            break
        await asyncio.sleep(ends - seconds + done.size / RATE - time.monotonic())
    return done


async def _one_after_another(address: str, units: Iterator[bytes], ends: float) -> Flooded:
    """Send each unit on a connection of its own."""
    done = Flooded()
    while time.monotonic() < ends:
        unit = next(units)
        async with connected(address, unit) as peer:
            peer.decodes = False
            await asyncio.sleep(max(TICK, len(unit) / RATE))
            done.units += 1
            done.size += len(unit)
            done.cuts += peer.is_cut_off
    return done


def _say(what: object) -> None:
    print(json.dumps(what), flush=True)


async def _main() -> None:
    sink = await asyncio.start_server(_drop, "127.0.0.1", 0)
    to_sink = f"127.0.0.1:{sink.sockets[0].getsockname()[1]}"
    _say("ready")
    while line := await asyncio.to_thread(sys.stdin.readline):
        order = json.loads(line)
        order["address"] = order["address"] or to_sink
        _say(dataclasses.asdict(await _obey(**order)))


if __name__ == "__main__":
    asyncio.run(_main())
