"""How a limiter stops: calls under way finish, new ones go elsewhere, nothing stays behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from tests.rpc.support.calls import OK, Client, Failed, failure, one, outcome
from tests.rpc.support.counting import descriptors, tasks, until
from tests.rpc.support.serving import prepare

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ratelimitd.app import Service
    from ratelimitd.model import Op
    from ratelimitd.stores.ports import Counters, Taken


class Gated:
    """Counters that answer when the test lets them: a store that is slow."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self.gate = asyncio.Event()
        self.waiting = 0
        self.cancelled = 0

    async def take(
        self, ops: Sequence[Op], request_id: bytes = b"", remember_us: int = 0, lease: str = ""
    ) -> Taken:
        """Wait for the gate, then count."""
        self.waiting += 1
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.waiting -= 1
        return await self._counters.take(ops, request_id, remember_us, lease)

    async def close(self) -> None:
        """Nothing of its own."""


def gate(service: Service) -> Gated:
    """Put a gate before the service's counters."""
    gated = Gated(service.limiter._counters)
    service.limiter._counters = gated
    return gated


async def test_calls_under_way_finish(service: Service, client: Client) -> None:
    """A stop waits for the answers that callers are waiting for."""
    gated = gate(service)
    calls = [asyncio.ensure_future(client.ask(one("api_key=a"))) for _ in range(5)]
    await until(lambda: gated.waiting == 5, "the calls wait for the store")
    stopping = asyncio.ensure_future(service.stop())
    await until(lambda: not service.is_ready, "the stop has begun")
    assert not stopping.done()
    gated.gate.set()
    answers = await asyncio.gather(*calls)
    assert [answer.overall_code for answer in answers] == [OK] * 5
    await stopping


async def test_new_connections_are_refused(service: Service, client: Client) -> None:
    """Once it stops, a limiter is not there any more: callers fail at once and go elsewhere."""
    assert await client.code("api_key=a") == OK
    (address,) = service.addresses["grpc"]
    await service.stop()
    async with grpc.aio.insecure_channel(address) as channel:
        failed = await failure(Client(channel).ask(one("api_key=a")))
        assert failed.code is grpc.StatusCode.UNAVAILABLE
    assert (await failure(client.ask(one("api_key=a")))).code is grpc.StatusCode.UNAVAILABLE


async def test_a_draining_limiter_still_decides(service: Service, client: Client) -> None:
    """Between NOT_SERVING and the end every call that still comes is decided."""
    await service.drain()
    assert await client.code("api_key=a") == OK


async def test_what_outlives_the_grace_is_cancelled(service: Service, client: Client) -> None:
    """A call that the store never answers does not keep the process: UNAVAILABLE, soon."""
    gated = gate(service)
    call = asyncio.ensure_future(client.ask(one("api_key=a")))
    await until(lambda: gated.waiting, "the call waits for the store")
    async with asyncio.timeout(3):
        await service.stop(grace=0.1)
        assert (await failure(call)).code is grpc.StatusCode.UNAVAILABLE
    assert gated.cancelled == 1


async def test_stopping_twice_is_harmless(service: Service, client: Client) -> None:
    """A second signal, or a stop after a stop, does nothing."""
    assert await client.code("api_key=a") == OK
    await asyncio.gather(service.stop(), service.stop())
    await service.stop(grace=0)


async def test_a_stop_that_is_cut_short_can_be_finished(service: Service, client: Client) -> None:
    """A second signal cancels the patient stop, and the impatient one ends what is left."""
    gated = gate(service)
    call = asyncio.ensure_future(client.ask(one("api_key=a")))
    await until(lambda: gated.waiting, "the call waits for the store")
    patient = asyncio.ensure_future(service.stop(grace=60))
    await until(lambda: not service.is_ready, "the stop has begun")
    await asyncio.wait({patient}, timeout=0.05)
    patient.cancel()
    async with asyncio.timeout(3):
        await asyncio.wait({patient})
        await service.stop(grace=0)
        assert isinstance(await outcome(call), Failed)


async def test_a_life_leaves_no_task_and_no_descriptor(transport: str, tmp_path: Path) -> None:
    """Start, serve, stop: as many tasks and open files as before, the second time as the first."""
    before, opened = tasks(), []
    for _ in range(3):
        service = prepare(transport, tmp_path)
        await service.start()
        async with grpc.aio.insecure_channel(service.addresses["grpc"][0]) as channel:
            assert await Client(channel).code("api_key=a") == OK
        await service.stop()
        await until(lambda: tasks() <= before, "the tasks end")
        opened.append(descriptors())
    await until(lambda: descriptors() <= opened[0], "the descriptors are closed")
