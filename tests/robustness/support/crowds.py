"""Many connections that do nothing, or next to it: what they cost, and when they are let go."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.e2e.support.waiting import wait_until
from tests.robustness.support.frames import CALL, HELLO, headers
from tests.robustness.support.peer import connected
from tests.robustness.support.watched import Watch, memory, p99

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.e2e.support.limiter import Limiter
    from tests.robustness.support.peer import Peer
    from tests.robustness.support.watched import Bystander

_LONG: Final = headers(1, CALL + b"\x00\x01x\x7f\x80\x01" + b"y" * 255)
PACE: Final = 1.0
"""Seconds from byte to byte."""
CROWDS: Final[dict[str, tuple[bytes, bytes]]] = {
    "half-open": (b"", b""),
    "slowloris": (HELLO + _LONG[:20], _LONG[20:]),
}
"""What each of them says first, and byte by byte then."""
SELDOM: Final = 0.25
LEFT: Final = 0.1
"""The part of them that may be left when they count as let go."""
HANGING: Final = 10.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a crowd cost."""

    control: float
    beside: float
    """p99 of the bystander in seconds, before and beside."""
    failed: tuple[str, ...]
    grown: int
    """KiB of the limiter's memory."""
    held: int
    """Connections that the limiter had once all had connected."""
    let_go: float | None
    """Seconds after which it let them go, or None if it waited for their leaving."""
    freed: float
    """Seconds until the last was gone, from then on or from their leaving."""


def descriptors(limiter: Limiter) -> int:
    """Return how many a limiter has open."""
    return sum(1 for _ in Path(f"/proc/{limiter.process.pid}/fd").iterdir())


async def gather(
    limiter: Limiter, someone: Bystander, row: str, count: int, seconds: float
) -> Cost:
    """Let so many connect and stay for so long, or until they are let go."""
    begin, rest = CROWDS[row]
    before, small, failed = descriptors(limiter), memory(limiter.process.pid), len(someone.failed)
    watch = Watch(limiter, someone)
    async with watch.control():
        await asyncio.sleep(seconds / 4)

    async def are_few() -> bool:
        await asyncio.sleep(SELDOM)  # to count them is work, and it is the bystander's process
        return descriptors(limiter) <= before + count * LEFT

    async with contextlib.AsyncExitStack() as peers:
        began = time.monotonic()
        crowd = [
            await peers.enter_async_context(connected(limiter.address, begin, reads=False))
            for _ in range(count)
        ]
        await _until(lambda: descriptors(limiter) >= before + count, HANGING)
        held, grown = descriptors(limiter) - before, memory(limiter.process.pid) - small
        dripping = asyncio.ensure_future(_drip(crowd, rest))
        async with watch.attack():
            gone = await _until(are_few, seconds)
        let_go = time.monotonic() - began if gone else None
        dripping.cancel()
    began = time.monotonic()
    await _until(lambda: descriptors(limiter) <= before, HANGING)
    return Cost(
        control=p99(watch.quiet),
        beside=p99(watch.beside),
        failed=tuple(someone.failed[failed:]),
        grown=grown,
        held=held,
        let_go=let_go,
        freed=time.monotonic() - began,
    )


async def _drip(crowd: list[Peer], rest: bytes) -> None:
    """Have each of them send a byte now and then."""
    for at in range(len(rest)):
        for peer in crowd:
            peer.send(rest[at : at + 1])
        await asyncio.sleep(PACE)


async def _until(holds: Callable[[], bool | Awaitable[bool]], seconds: float) -> bool:
    """Wait for so long at the most; say whether it came true."""
    try:
        await wait_until(holds, description="", within=seconds)
    except AssertionError:
        return False
    return True
