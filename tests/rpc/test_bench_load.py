"""The generator of `make bench`: it makes the calls it says it makes, and hides no failure."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bench import raw
from ratelimitd._gen.envoy.service.ratelimit.v3.rls_pb2 import RateLimitResponse
from tests.rpc.support.asgi import framed
from tests.rpc.support.calls import METHOD, OK, OVER_LIMIT, one
from tests.rpc.support.serving import policy, running

if TYPE_CHECKING:
    from pathlib import Path

CALLS = 300
CALL = framed(one("api_key=a").SerializeToString())
LIMITS = policy("{meter: requests, rate: 250/hour}")


async def test_every_call_is_made_and_timed(transport: str, tmp_path: Path) -> None:
    """The limiter counts as many decisions as the generator has latencies."""
    async with running(transport, tmp_path, LIMITS) as service:
        target = service.addresses["grpc"][0]
        driven = await asyncio.to_thread(
            raw.drive, target, METHOD, [CALL] * CALLS, 2, 20, keep=True
        )
        counts = service.telemetry.counts
        assert (counts["decisions", "allowed"], counts["decisions", "denied"]) == (250, 50)
    assert len(driven.latencies) == CALLS
    assert all(0 < each < raw.SECONDS * 1e6 for each in driven.latencies)
    codes = [RateLimitResponse.FromString(each[5:]).overall_code for each in driven.answers]
    assert (codes.count(OK), codes.count(OVER_LIMIT)) == (250, 50)


async def test_answers_without_a_message_are_no_decisions(transport: str, tmp_path: Path) -> None:
    """A gRPC error travels as HTTP 200, and must not be measured as if it were an answer."""
    async with running(transport, tmp_path, LIMITS) as service:
        target = service.addresses["grpc"][0]
        with pytest.raises(KeyError):
            await asyncio.to_thread(raw.drive, target, f"{METHOD}Not", [CALL] * 10, 1, 5)
