"""Peers that take their time: after how long each is cut off, on all transports at once.

For as long as the shorter bounds (5 s); `make soak` waits for the longer ones (10 s) too.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e.support.waiting import wait_until
from tests.robustness import outcomes
from tests.robustness.support.peer import connected
from tests.robustness.support.slow import SLOW, wrong_waits
from tests.robustness.support.watched import Watch, p99

if TYPE_CHECKING:
    from tests.e2e.support.limiter import Limiter
    from tests.robustness.support.watched import Bystander

MOST = 7.5
PEERS = 300
LARGEST = 100
"""KiB of memory that a connection may cost."""
KEPT = 0.25
"""Seconds: a bystander's p99 on a busy machine."""


async def test_slow_peers_are_cut_off_when_the_table_says() -> None:
    """Every row on every transport; None is a peer that is borne for as long as it likes."""
    assert list(SLOW) == list(outcomes.SLOW)
    assert await wrong_waits(MOST) == {}


def _descriptors(limiter: Limiter) -> int:
    return sum(1 for _ in Path(f"/proc/{limiter.process.pid}/fd").iterdir())


async def test_many_half_open_connections_leave_others_alone(
    limiter: Limiter, someone: Bystander
) -> None:
    """Hundreds that have sent half a frame: calls go on, memory is bounded, and all is let go."""
    before = _descriptors(limiter)
    watch = Watch(limiter, someone)
    async with watch.control():
        await asyncio.sleep(0.3)
    async with contextlib.AsyncExitStack() as peers, watch.attack():
        for _ in range(PEERS):
            await peers.enter_async_context(
                connected(limiter.address, SLOW["half a frame"].begin, reads=False)
            )
        await asyncio.sleep(0.5)
        assert _descriptors(limiter) >= before + PEERS
    assert not someone.failed
    assert p99(watch.beside) < KEPT
    assert watch.grown < PEERS * LARGEST
    await wait_until(
        lambda: _descriptors(limiter) < before + PEERS // 10, description="connections are let go"
    )
