"""Peers that break HTTP/2's rules, each once: what they get, and that the limiter outlives them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import grpc.aio

from tests.e2e.support.limiter import run_limiter
from tests.e2e.support.waiting import wait_until
from tests.robustness import outcomes
from tests.robustness.support.frames import HELLO
from tests.robustness.support.malformed import MALFORMED, NO_TEXT, SHORT_PREFACES
from tests.robustness.support.peer import connected
from tests.robustness.support.watched import PATIENCE, POLICY, QUESTION, bystander

if TYPE_CHECKING:
    from tests.e2e.support.limiter import Limiter
    from tests.robustness.support.watched import Bystander

SECONDS = 1.5
"""Whoever has not answered by then never will."""


async def _ending(address: str, sent: bytes) -> str:
    async with connected(address, sent) as peer:
        return await peer.outcome(SECONDS)


async def test_malformed_peers_get_what_the_table_says(
    transport: str, limiter: Limiter, someone: Bystander
) -> None:
    """All at once; afterwards the limiter answers, and has logged no failure of its own."""
    found = await asyncio.gather(*(_ending(limiter.address, sent) for sent in MALFORMED.values()))
    assert dict(zip(MALFORMED, found, strict=True)) == outcomes.column(
        outcomes.MALFORMED, transport
    )
    assert await someone.call(QUESTION, timeout=PATIENCE)
    log = await asyncio.to_thread(limiter.log.read_text, "utf-8")
    assert "level=error" not in log, log


async def test_a_path_that_is_no_text_costs_what_the_table_says(transport: str) -> None:
    """What becomes of the call and of somebody else's connection; whoever comes next is served."""
    async with (
        run_limiter(POLICY, transport=transport) as limiter,
        connected(limiter.address, HELLO) as other,
    ):
        ending = await _ending(limiter.address, NO_TEXT)
        others = outcomes.LOST if other.is_cut_off else outcomes.KEPT
        assert f"{ending}; others {others}" == outcomes.of(outcomes.NO_TEXT, "path", transport)
        await wait_until(
            lambda: _is_served(limiter.address), description="a server that answers", within=20
        )


async def _is_served(address: str) -> bool:
    with contextlib.suppress(grpc.aio.AioRpcError):
        async with bystander(address):
            return True
    return False


async def test_wrong_beginnings_end_the_connection(transport: str, limiter: Limiter) -> None:
    """Each prefix of the preface, and then another byte."""
    found = await asyncio.gather(*(_ending(limiter.address, sent) for sent in SHORT_PREFACES))
    assert found.count("closed") == outcomes.SHORT_PREFACES[transport]
