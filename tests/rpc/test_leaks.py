"""Nothing is left of thousands of calls, also of those that their callers took back."""

from __future__ import annotations

import asyncio
import gc
import socket
from typing import TYPE_CHECKING

import grpc.aio
import pytest

from tests.rpc.support.calls import Client, Failed, one, outcome
from tests.rpc.support.counting import descriptors, tasks, until
from tests.rpc.support.serving import running

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ratelimitd.model import Op
    from ratelimitd.stores.ports import Counters, Taken

CALLS = 2_000
AT_ONCE = 50


class Slow:
    """Counters that answer a few turns of the event loop later, as a store over a network does."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    async def take(
        self, ops: Sequence[Op], request_id: bytes = b"", remember_us: int = 0, lease: str = ""
    ) -> Taken:
        """Wait a little, then count."""
        await asyncio.sleep(0.002)
        return await self._counters.take(ops, request_id, remember_us, lease)

    async def close(self) -> None:
        """Nothing of its own."""


async def flood(client: Client, calls: int, first: int = 0) -> tuple[int, int]:
    """Make calls, of which each tenth is taken back; return how many were and were not answered."""
    answered = failed = 0
    for start in range(first, first + calls, AT_ONCE):
        batch = [
            asyncio.ensure_future(outcome(client.ask(one(f"api_key=flood-{number}"))))
            for number in range(start, start + AT_ONCE)
        ]
        await asyncio.sleep(0.001)
        for call in batch[::10]:
            call.cancel()
        results = await asyncio.gather(*batch, return_exceptions=True)
        lost = sum(isinstance(each, (Failed, BaseException)) for each in results)
        answered, failed = answered + AT_ONCE - lost, failed + lost
    return answered, failed


@pytest.mark.parametrize("slow", [False, True], ids=["from memory", "from a slow store"])
async def test_a_flood_leaves_no_task_and_no_descriptor(
    transport: str, tmp_path: Path, slow: bool
) -> None:
    """After 2,000 calls, a tenth of them cancelled, the process holds what it held before."""
    async with running(transport, tmp_path) as service:
        if slow:
            service.limiter._counters = Slow(service.limiter._counters)
        async with grpc.aio.insecure_channel(service.addresses["grpc"][0]) as channel:
            client = Client(channel)
            await flood(client, AT_ONCE, CALLS)  # connections and threads are made now
            gc.collect()
            held, opened = len(tasks()), descriptors()
            answered, failed = await flood(client, CALLS)
            assert answered + failed == CALLS
            assert answered >= CALLS * 0.85
            assert failed >= (CALLS * 0.05 if slow else 0)
            await until(lambda: len(tasks()) <= held, "the tasks end")
            await until(lambda: descriptors() <= opened, "the descriptors are closed")
            assert await client.code("api_key=after") == 1


async def test_connections_that_come_and_go_leave_no_descriptor(
    transport: str, tmp_path: Path
) -> None:
    """A hundred connections, half of them closed in the middle of a call."""
    async with running(transport, tmp_path) as service:
        service.limiter._counters = Slow(service.limiter._counters)
        held: list[tuple[int, int]] = []
        for _ in range(5):
            for number in range(20):
                await _visit(service.addresses["grpc"][0], answered=number % 2 == 0)
            gc.collect()
            held.append((len(tasks()), descriptors()))
        await until(lambda: len(tasks()) <= held[0][0], "the tasks end")
        await until(lambda: descriptors() <= held[0][1], "the descriptors are closed")


async def _visit(address: str, *, answered: bool) -> None:
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        call = asyncio.ensure_future(outcome(Client(channel).ask(one("api_key=visitor"))))
        if answered:
            await call
        else:
            await channel.channel_ready()
    await asyncio.wait({call})


async def test_what_stays_is_seen() -> None:
    """The twin: a task and an open file too many are counted."""
    held, opened = len(tasks()), descriptors()
    staying = asyncio.ensure_future(asyncio.Event().wait())
    with socket.socket():
        assert (len(tasks()), descriptors()) == (held + 1, opened + 1)
    staying.cancel()
    await asyncio.wait({staying})
    assert (len(tasks()), descriptors()) == (held, opened)
