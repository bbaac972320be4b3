"""Frames and header blocks drawn at random: nothing crashes, hangs, grows, or is misread.

`make soak` sends a million frames.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.e2e.support.limiter import run_limiter
from tests.robustness import outcomes
from tests.robustness.support import planted
from tests.robustness.support.fuzz import CONVERSATION, Fuzzed, fuzz, mutated, round_trips
from tests.robustness.support.watched import PATIENCE, POLICY, QUESTION, Watch

if TYPE_CHECKING:
    from tests.e2e.support.limiter import Limiter
    from tests.robustness.support.watched import Bystander

FRAMES = 20_000
GROWTH = 48 << 10
"""KiB; the first thousand connections of a process take some of it."""
BLOCKS = 300


async def test_mutated_conversations_hurt_nobody(
    transport: str, limiter: Limiter, someone: Bystander
) -> None:
    """The bystander is served all the time, every connection ends, and no failure is logged."""
    watch = Watch(limiter, someone)
    async with watch.control():
        await asyncio.sleep(0.1)
    done = Fuzzed()
    async with watch.attack():
        await fuzz(limiter.address, FRAMES, 0, done)
    assert done.sent >= FRAMES
    assert done.hung == []
    assert done.refused == 0
    assert len(someone.failed) <= outcomes.FUZZ_FAILURES[transport], someone.failed
    assert watch.grown < GROWTH
    assert await someone.call(QUESTION, timeout=PATIENCE)
    log = await asyncio.to_thread(limiter.log.read_text, "utf-8")
    assert "level=error" not in log, log


async def test_header_blocks_of_every_shape_are_read_as_they_were_meant(transport: str) -> None:
    """Each value comes back as it was sent, whatever the tables hold by then."""
    program = planted.program("a test service")
    async with run_limiter(POLICY, transport=transport, program=program) as limiter:
        assert await round_trips(limiter.address, 1, BLOCKS) == []


def test_a_seed_tells_the_whole_conversation() -> None:
    """So that what went wrong can be sent again; and hardly any two are alike."""
    assert mutated(7) == mutated(7)
    drawn = {b"".join(mutated(seed)) for seed in range(100)}
    assert len(drawn) > 90
    assert b"".join(CONVERSATION) not in drawn
