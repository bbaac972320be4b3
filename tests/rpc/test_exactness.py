"""Many callers at once: exactly the limit passes, whatever the transport and the algorithm."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import TYPE_CHECKING

import grpc.aio
import pytest

from ratelimitd.model import Algorithm, Kind
from tests.rpc.support.calls import OK, OVER_LIMIT, Client, one
from tests.rpc.support.limits import KINDS, Row
from tests.rpc.support.serving import policy, running

if TYPE_CHECKING:
    from pathlib import Path

    from ratelimitd.app import Service
    from ratelimitd.model import Op
    from ratelimitd.stores.ports import Counters, Taken

TASKS = 64
CALLS = 5
"""Of each task: 320 calls at the least three times the limit."""
PAUSE = 0.01
"""Seconds that the planted race leaves to others."""


async def crowd(service: Service, kind: Row) -> Counter[int]:
    """Ask from many tasks over several connections at once; return how often each code came."""
    codes: Counter[int] = Counter()

    async def caller(client: Client) -> None:
        for _ in range(CALLS):
            answer = await client.ask(one("api_key=a", f"meter={kind.meter}"))
            codes[answer.overall_code] += 1

    async with contextlib.AsyncExitStack() as stack:
        clients = [
            Client(
                await stack.enter_async_context(
                    grpc.aio.insecure_channel(
                        service.addresses["grpc"][0],
                        options=[("grpc.use_local_subchannel_pool", 1)],
                    )
                )
            )
            for _ in range(4)
        ]
        await asyncio.gather(*(caller(clients[index % 4]) for index in range(TASKS)))
    return codes


def test_every_algorithm_is_asked_by_a_crowd() -> None:
    """A new algorithm needs a row in the table."""
    assert set(KINDS) == {algorithm.value for algorithm in Algorithm}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
async def test_exactly_the_limit_passes_a_crowd(transport: str, tmp_path: Path, kind: Row) -> None:
    """N callers at once never get more than the limit, and not one less."""
    async with running(transport, tmp_path, policy(kind.limit)) as service:
        codes = await crowd(service, kind)
    assert codes == {OK: kind.most, OVER_LIMIT: TASKS * CALLS - kind.most}


class Racy:
    """A planted bug: it looks, lets others in, and only then charges what it saw."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    async def take(
        self, ops: tuple[Op, ...], request_id: bytes = b"", remember_us: int = 0, lease: str = ""
    ) -> Taken:
        """Judge before a pause and charge after it."""
        peeks = [op._replace(kind=Kind.PEEK) for op in ops]
        seen = await self._counters.take(peeks)
        await asyncio.sleep(PAUSE)
        reports = [op._replace(kind=Kind.REPORT) for op in ops]
        if seen.passed:
            await self._counters.take(reports, request_id)
        return seen

    async def close(self) -> None:
        """Nothing of its own."""


async def test_a_crowd_finds_a_store_that_charges_late(transport: str, tmp_path: Path) -> None:
    """The twin: a race of some milliseconds is seen as too many that passed."""
    kind = KINDS["fixed_window"]
    async with running(transport, tmp_path, policy(kind.limit)) as service:
        service.limiter._counters = Racy(service.limiter._counters)  # type: ignore[assignment]
        codes = await crowd(service, kind)
    assert codes[OK] > kind.most
