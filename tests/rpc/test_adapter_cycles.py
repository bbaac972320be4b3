"""A finished call leaves nothing for the garbage collector: its memory is free at once."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from ratelimitd.transports.grpc_context import Context
from tests.rpc.support.asgi import HEADERS, Exchange, application, echo, framed, method, scope
from tests.support.collector import no_collector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ratelimitd.transports.handlers import Method

MESSAGE = framed(b"hello")
SOON = (b"grpc-timeout", b"5m")


async def waits(request: bytes, _: Any) -> bytes:  # noqa: ANN401
    """Answer in the next turn of the loop."""
    await asyncio.sleep(0)
    return request


async def never(request: bytes, _: Any) -> bytes:  # noqa: ANN401
    """Wait for longer than the caller."""
    await asyncio.sleep(60)
    return request


async def aborts(_: bytes, context: Any) -> bytes:  # noqa: ANN401
    """End with a status."""
    await context.abort(grpc.StatusCode.NOT_FOUND, "no")
    return b""


async def fails(_: bytes, __: Any) -> bytes:  # noqa: ANN401
    """Fail."""
    raise ValueError


async def watched(request: bytes, context: Any) -> bytes:  # noqa: ANN401
    """Use what the context offers."""
    context.add_done_callback(lambda _: None)
    await context.send_initial_metadata((("a", "b"),))
    context.set_trailing_metadata((("c", "d"),))
    return request


async def stream(requests: AsyncIterator[bytes], _: Any) -> AsyncIterator[bytes]:  # noqa: ANN401
    """Echo each message."""
    async for request in requests:
        yield request


async def written(request: bytes, context: Any) -> None:  # noqa: ANN401
    """Answer by writing."""
    await context.write(request)


BOTH = method(stream, requests=True, responses=True)
CALLS: dict[str, tuple[Method, tuple[bytes, ...], bool]] = {
    # a method, the body's parts, whether the caller leaves while the handler waits
    "at once": (method(echo), (MESSAGE,), False),
    "after waiting": (method(waits), (MESSAGE, b""), False),
    "with metadata": (method(watched), (MESSAGE,), False),
    "aborted": (method(aborts), (MESSAGE,), False),
    "failed": (method(fails), (MESSAGE,), False),
    "malformed": (method(echo), (MESSAGE[:7],), False),
    "too late": (method(never), (MESSAGE,), False),
    "left": (method(never), (MESSAGE,), True),
    "a stream": (BOTH, (MESSAGE, MESSAGE), False),
    "a stream that breaks": (BOTH, (MESSAGE, MESSAGE[:3]), False),
    "a stream that is written": (method(written, responses=True), (MESSAGE,), False),
    "a stream left": (BOTH, (), True),
}


async def left_behind(shape: Method, parts: tuple[bytes, ...], *, leaves: bool) -> list[object]:
    """Make a call; return the objects that only the garbage collector can free."""
    app = application(shape)
    headers = [*HEADERS] if leaves else [*HEADERS, SOON]

    async def call() -> None:
        exchange = Exchange(*parts, ends=not leaves)
        if leaves:
            asyncio.get_running_loop().call_later(0.005, exchange.leave)
        await app(scope(headers), exchange.receive, exchange.send)

    await call()  # what is made once only is made now
    await asyncio.sleep(0)
    with no_collector():
        await call()
        for _ in range(3):
            await asyncio.sleep(0)
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            gc.collect()
            return list(gc.garbage)
        finally:
            gc.set_debug(0)
            gc.garbage.clear()


@pytest.mark.parametrize(("shape", "parts", "leaves"), CALLS.values(), ids=CALLS)
async def test_a_finished_call_leaves_no_cycle(
    shape: Method, parts: tuple[bytes, ...], leaves: bool
) -> None:
    """However it ends, a call's objects are freed by counting references alone."""
    garbage = await left_behind(shape, parts, leaves=leaves)
    assert not garbage, [type(each).__name__ for each in garbage]


async def test_a_cycle_in_each_call_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin, and the bug that this file found: a context that holds a method of its own."""
    initialise = Context.__init__

    def planted(self: Context, *arguments: Any) -> None:  # noqa: ANN401
        initialise(self, *arguments)
        self.writer = self.write

    monkeypatch.setattr(Context, "__init__", planted)
    garbage = await left_behind(method(echo), (MESSAGE,), leaves=False)
    assert any(isinstance(each, Context) for each in garbage)
