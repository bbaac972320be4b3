"""The promise of Retry-After, through the whole service: denied before it, allowed at it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import grpc.aio
import pytest

from ratelimitd.clock import ManualClock
from tests.rpc.support.calls import OK, OVER_LIMIT, Client, header, one
from tests.rpc.support.limits import KINDS, Row
from tests.rpc.support.serving import NOON, policy, running
from tests.support.ops import HOUR, MINUTE, S

if TYPE_CHECKING:
    from pathlib import Path

FIRST = {
    # (limit, hits at first) to the first instant at which one hit fits again, from NOON, µs
    "fixed_window": (KINDS["fixed_window"], 100, HOUR - NOON % HOUR),
    # The next window must have run for 1/70 of a minute: by then 69 of the 70 still count.
    "sliding_window": (KINDS["sliding_window"], 70, MINUTE - NOON % MINUTE - (-MINUTE // 70)),
    "token_bucket": (KINDS["token_bucket"], 50, -(-S // 7)),
}


@pytest.mark.parametrize(("kind", "hits", "wait"), FIRST.values(), ids=FIRST)
async def test_denied_one_microsecond_before_retry_and_allowed_at_it(
    transport: str, tmp_path: Path, kind: Row, hits: int, wait: int
) -> None:
    """The instant is exact to the microsecond, and Retry-After is that wait rounded up."""
    clock = ManualClock(NOON)
    async with (
        running(transport, tmp_path, policy(kind.limit), clock) as service,
        grpc.aio.insecure_channel(service.addresses["grpc"][0]) as channel,
    ):
        client = Client(channel)
        assert await client.code("api_key=a", hits=hits) == OK
        denied = await client.ask(one("api_key=a"))
        assert denied.overall_code == OVER_LIMIT
        assert header(denied, "Retry-After") == str(-(-wait // S))
        clock.advance(wait - 1)
        assert await client.code("api_key=a") == OVER_LIMIT
        clock.advance(1)
        assert await client.code("api_key=a") == OK


@pytest.mark.parametrize(("kind", "hits", "wait"), FIRST.values(), ids=FIRST)
async def test_whoever_waits_for_retry_after_passes(
    transport: str, tmp_path: Path, kind: Row, hits: int, wait: int
) -> None:
    """A client that sleeps as many whole seconds as the header and the body say is let in."""
    clock = ManualClock(NOON)
    async with (
        running(transport, tmp_path, policy(kind.limit), clock) as service,
        grpc.aio.insecure_channel(service.addresses["grpc"][0]) as channel,
    ):
        client = Client(channel)
        await client.ask(one("api_key=a", hits=hits))
        denied = await client.ask(one("api_key=a"))
        seconds = json.loads(denied.raw_body)["error"]["details"]["retry_after"]
        assert header(denied, "Retry-After") == str(seconds)
        clock.advance(seconds * S)
        assert await client.code("api_key=a") == OK
