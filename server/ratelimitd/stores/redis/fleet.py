"""The servers behind a Redis store, each with its batches: where a decision is sent.

Knows nothing of operations. What a connection is: `link`; which server has a slot: `cluster`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ratelimitd.errors import StoreError, StoreUnavailableError
from ratelimitd.stores.redis.batcher import Batcher

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from ratelimitd.stores.redis.batcher import Verdict
    from ratelimitd.stores.redis.link import Servers
    from ratelimitd.stores.redis.redis_clock import RedisClock
    from ratelimitd.stores.redis.script import Script
    from ratelimitd.stores.redis.wire import Package

TIME = b"*1\r\n$4\r\nTIME\r\n"


class Fleet:
    """Sends decisions to the servers of their slots."""

    def __init__(self, servers: Servers, script: Script, clock: RedisClock, room: int) -> None:
        self._servers = servers
        self._script = script
        self._clock = clock
        self._room = room
        self._batchers: dict[int, Batcher] = {}

    async def start(self) -> None:
        """Connect, and learn the servers' clock. Raises `StoreUnavailableError`."""
        await self._servers.start()
        self._clock.observe(await self._time())

    async def _time(self) -> int:
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()

        def answer(reply: object) -> None:
            if not future.done():
                future.set_result(reply)

        self._servers.send(0, TIME, answer)
        reply = await future
        if isinstance(reply, StoreError):
            raise reply
        if not isinstance(reply, list):
            msg = f"Redis does not tell the time: {reply}"
            raise StoreUnavailableError(msg)
        seconds, microseconds = reply
        return int(seconds) * 1_000_000 + int(microseconds)

    def submit(self, slot: int, package: Package) -> Awaitable[Verdict]:
        """Decide on the server of a slot. Raises `StoreError` when awaited."""
        batcher = self._batchers.get(slot)
        if batcher is None:
            batcher = self._batchers[slot] = Batcher(
                self._script, self._clock, self._room, together=self._servers.are_several
            )
            batcher.send = lambda command, on_reply: self._servers.send(slot, command, on_reply)
        return batcher.submit(package)

    def figures(self) -> dict[str, int]:
        """Return numbers for operators."""
        batchers = self._batchers.values()
        return {
            "store_batches_total": sum(batcher.batches for batcher in batchers),
            "store_batched_total": sum(batcher.decisions for batcher in batchers),
            "store_script_reloads_total": sum(batcher.reloads for batcher in batchers),
        }

    async def close(self) -> None:
        """Let go of the servers; what waits fails."""
        for batcher in self._batchers.values():
            batcher.fail(StoreUnavailableError("the store is closed"))
        await self._servers.close()
