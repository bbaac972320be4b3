"""What protects a limiter and its callers from excess and from its own end: one question each."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any, Final

import grpc.aio

from tests.robustness.support.frames import END_STREAM, HELLO, frame, headers
from tests.robustness.support.malformed import MALFORMED, QUESTION
from tests.robustness.support.peer import connected
from tests.rpc.support.calls import METHOD

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.e2e.support.limiter import Limiter

LARGE: Final = 3 << 19
"""Bytes of a message: half as much again as is allowed."""
CHECKED: Final = 0.3
DRAINED: Final = 2.6
"""Seconds after SIGTERM: within the drain (1 s); and past it and the second that is left to calls
which were told that the server stops, but within the grace (5 s)."""
PATIENCE: Final = 5.0


async def _code(address: str, path: str, sent: bytes) -> tuple[str, bytes]:
    """Return what a call ends with, and its answer."""
    async with grpc.aio.insecure_channel(address) as channel:
        method: Any = channel.unary_unary(path)
        call = method(sent, timeout=PATIENCE)
        code: grpc.StatusCode = await call.code()
        return code.name, await call if code is grpc.StatusCode.OK else b""


async def large_body(limiter: Limiter) -> str:
    """Return the status of a call whose message is too large."""
    code, _ = await _code(limiter.address, METHOD, bytes(LARGE))
    return code


async def large_headers(limiter: Limiter) -> str:
    """Return what comes of 200 KiB of headers."""
    async with connected(limiter.address, MALFORMED["200 KiB of headers"]) as peer:
        return await peer.outcome(PATIENCE)


async def health(limiter: Limiter) -> str:
    """Return what a health check is told while the limiter drains."""
    limiter.process.send_signal(signal.SIGTERM)
    await asyncio.sleep(CHECKED)
    _, answer = await _code(limiter.address, "/grpc.health.v1.Health/Check", b"")
    return {b"\x08\x01": "SERVING", b"\x08\x02": "NOT_SERVING"}[answer]


async def call_under_way(limiter: Limiter) -> str:
    """Return what becomes of a call that began before the end and is complete after the drain."""
    async with connected(limiter.address, HELLO + headers(1)) as peer:
        await asyncio.sleep(CHECKED)
        limiter.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(DRAINED)
        prefix = b"\0" + len(QUESTION).to_bytes(4)
        peer.send(frame(0, END_STREAM, 1, prefix + QUESTION))
        await peer.until_answered(PATIENCE)
        return f"grpc {peer.fields.get('grpc-status', 'none')}"


BOUNDS: Final[dict[str, Callable[[Limiter], Awaitable[str]]]] = {
    "no body bound": large_body,
    "no header bound": large_headers,
    "health not drained": health,
    "GOAWAY without waiting": call_under_way,
}
"""The row that finds each planted weakness."""
