"""Generated requests over the wire: a decision or a documented status; errors change nothing."""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest
from hypothesis import HealthCheck, given, settings

from ratelimitd.clock import ManualClock
from ratelimitd.rpc import questions
from tests.rpc.support.calls import OK, OVER_LIMIT, Client, Failed, one, outcome
from tests.rpc.support.messages import ANY
from tests.rpc.support.serving import NOON, POLICY, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from ratelimitd.limiter import Limiter
    from ratelimitd.model import Op
    from ratelimitd.stores.ports import Counters, Taken

DOCUMENTED = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED}
# One service takes all examples on purpose: they also meet each other's counts.
fuzzed = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Noting:
    """Counters that note each `take`."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self.takes = 0

    @classmethod
    def within(cls, limiter: Limiter) -> Noting:
        """Note what a limiter takes from now on."""
        noting = cls(limiter._counters)
        limiter._counters = noting
        return noting

    async def take(
        self, ops: Sequence[Op], request_id: bytes = b"", remember_us: int = 0, lease: str = ""
    ) -> Taken:
        """Count, and hand on."""
        self.takes += 1
        return await self._counters.take(ops, request_id, remember_us, lease)

    async def close(self) -> None:
        """Nothing of its own."""


@pytest.fixture
async def served(transport: str, tmp_path: Path) -> AsyncIterator[tuple[Noting, Client]]:
    """What notes the charges of a limiter that honours callers' own limits, and a client."""
    text = POLICY + "overrides: true\n"
    async with (
        running(transport, tmp_path, text, ManualClock(NOON)) as service,
        grpc.aio.insecure_channel(service.addresses["grpc"][0]) as channel,
    ):
        yield Noting.within(service.limiter), Client(channel)


@fuzzed
@given(wire=ANY)
async def test_whatever_is_sent_ends_as_documented(
    served: tuple[Noting, Client], wire: bytes
) -> None:
    """An answer with one status per descriptor, or one of two codes and the counts not touched."""
    noting, client = served
    before = noting.takes
    result = await outcome(client.send(wire))
    if isinstance(result, Failed):
        assert result.code in DOCUMENTED, result
        assert noting.takes == before
        return
    assert noting.takes == before + 1
    assert result.overall_code in (OK, OVER_LIMIT)
    request = questions.parse(wire)
    assert request is not None
    assert len(result.statuses) == len(request.descriptors)
    assert all(status.code in (OK, OVER_LIMIT) for status in result.statuses)
    assert bool(result.raw_body) == (result.overall_code == OVER_LIMIT)


_fresh = itertools.count()


@fuzzed
@given(wire=ANY)
async def test_a_bystander_is_decided_as_ever(served: tuple[Noting, Client], wire: bytes) -> None:
    """Nothing that is sent changes what another key may do afterwards."""
    _, client = served
    await outcome(client.send(wire))
    answer = await client.ask(one(f"api_key=bystander-{next(_fresh)}"))
    assert (answer.overall_code, answer.statuses[0].limit_remaining) == (OK, 4)


@functools.cache
def drawn() -> tuple[bytes, ...]:
    """Return generated requests, the same for each transport: making them takes longest."""
    made: list[bytes] = []

    # Which examples come depends on the modules that are loaded: so enough of them for any order.
    @settings(max_examples=1500, deadline=None, database=None, derandomize=True)
    @given(wire=ANY)
    def draw(wire: bytes) -> None:
        made.append(wire)

    draw()
    return tuple(made)


async def test_the_fuzz_reaches_both_answers_and_both_errors(
    served: tuple[Noting, Client],
) -> None:
    """The twin: the generated requests are not all of one kind."""
    _, client = served
    seen: set[object] = set()
    wanted = {OK, OVER_LIMIT, grpc.StatusCode.INVALID_ARGUMENT}
    for wire in drawn():
        result = await outcome(client.send(wire))
        seen.add(result.code if isinstance(result, Failed) else result.overall_code)
        if seen >= wanted:
            return
    pytest.fail(f"{len(drawn())} requests, and only {seen}")
