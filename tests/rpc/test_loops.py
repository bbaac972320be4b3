"""The loop of the tests: neither another's calls disturb it, nor the processes that it starts."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE
from typing import TYPE_CHECKING, Any

import grpc.aio
import pytest
import uvloop

from tests.rpc.support.serving import running
from tests.support.loops import Loop

if TYPE_CHECKING:
    from pathlib import Path

NOBODY = "127.0.0.1:1"
SOON, LATER = 0.2, 0.5
"""Seconds until the calls give up: the first while the second still waits."""


def a_call(channel: grpc.aio.Channel, seconds: float) -> grpc.aio.UnaryUnaryCall[bytes, bytes]:
    """Call nobody for so long."""
    method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/a.b/C")
    return method(b"", wait_for_ready=True, timeout=seconds)


def disturbances(kind: type[asyncio.AbstractEventLoop]) -> list[dict[str, Any]]:
    """Close a loop with a call under way; return what another loop complains of meanwhile."""
    closed, living = kind(), kind()
    told: list[dict[str, Any]] = []
    living.set_exception_handler(lambda _, context: told.append(context))

    async def begin() -> object:
        channel = grpc.aio.insecure_channel(NOBODY)
        return channel, a_call(channel, SOON)

    async def wait() -> None:
        async with grpc.aio.insecure_channel(NOBODY) as channel:
            with pytest.raises(grpc.aio.AioRpcError):
                await a_call(channel, LATER)

    kept = closed.run_until_complete(begin())
    closed.close()
    living.run_until_complete(wait())
    living.close()
    del kept
    return told


def test_late_events_of_a_closed_loop_are_dropped() -> None:
    """The twin is the loop that uvloop makes."""
    assert disturbances(Loop) == []
    (told,) = disturbances(uvloop.Loop)
    assert "closed" in str(told["exception"])


def test_whoever_else_speaks_to_a_closed_loop_is_told() -> None:
    """Only grpcio's events are dropped."""
    loop = Loop()
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_soon_threadsafe(print)


@pytest.mark.parametrize(("loop", "fails"), [("tests.support.loops", False), ("uvloop", True)])
async def test_a_started_process_writes_nothing_of_a_call(
    tmp_path: Path, loop: str, *, fails: bool
) -> None:
    """The twin has grpcio's support for forks: calls are written twice, processes die or hang."""
    async with running("h2corn", tmp_path) as service:
        (address,) = service.addresses["grpc"]
        program = (
            f"from {loop} import Loop; from tests.rpc.support.forking import main; "
            f"main(Loop, {address!r})"
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, stdout=PIPE, stderr=DEVNULL
        )
        told, _ = await process.communicate()
    assert process.returncode == 0
    assert bool(told) is fails, told.decode()
