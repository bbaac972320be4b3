"""Waiting for a store that is away for a while, and for the next turn of the event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ratelimitd.errors import StoreError

if TYPE_CHECKING:
    from ratelimitd.model import Op
    from ratelimitd.stores.ports import Counters

POLL = 0.02
WITHIN = 20.0
"""Seconds, for a machine on which much else runs."""


async def next_turn() -> None:
    """Let everything run that is ready."""
    await asyncio.sleep(0)


async def take_once(store: Counters, call: tuple[Op, ...]) -> int:
    """Charge as soon as the store answers; return what is used then."""
    async with asyncio.timeout(WITHIN):
        while True:
            try:
                return (await store.take(call)).standings[0].after
            except StoreError:
                await asyncio.sleep(POLL)
