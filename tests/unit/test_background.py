"""Work that goes on beside decisions lets them have their turns."""

import asyncio

from ratelimitd.background import AT_ONCE, by_turns


async def test_a_long_work_lets_others_in() -> None:
    """Whoever is ready waits for a few items, and not for all of them."""
    done = 0

    async def other() -> int:
        return done

    waiting = asyncio.get_running_loop().create_task(other())
    async for item in by_turns(range(1, 10 * AT_ONCE)):
        done = item
    assert done == 10 * AT_ONCE - 1
    assert await waiting == AT_ONCE
