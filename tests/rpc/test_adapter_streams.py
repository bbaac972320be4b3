"""gRPC over ASGI with several messages: all streaming shapes, broken bodies, ends. No sockets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from tests.rpc.support.asgi import HEADERS, Exchange, application, framed, method, run, scope
from tests.rpc.support.counting import tasks, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ratelimitd.transports.handlers import Method

OK, UNKNOWN, EXCEEDED, NOT_FOUND, EXHAUSTED, UNIMPLEMENTED, INTERNAL = 0, 2, 4, 5, 8, 12, 13
ONE, TWO = framed(b"one"), framed(b"two")


async def each_twice(requests: AsyncIterator[bytes], _: Any) -> AsyncIterator[bytes]:  # noqa: ANN401
    """Answer each message twice."""
    async for request in requests:
        yield request
        yield request


async def joined(requests: AsyncIterator[bytes], _: Any) -> bytes:  # noqa: ANN401
    """Answer once with all messages together."""
    return b"".join([request async for request in requests])


async def letters(request: bytes, _: Any) -> AsyncIterator[bytes]:  # noqa: ANN401
    """Answer one message with its letters."""
    for letter in request:
        yield bytes([letter])


async def written(request: bytes, context: Any) -> None:  # noqa: ANN401
    """Answer as health's Watch does: by writing."""
    await context.write(request)
    await context.write(b"more")


BOTH = method(each_twice, requests=True, responses=True)
SHAPES = {
    "both ways": (BOTH, (ONE, TWO), ONE + ONE + TWO + TWO),
    "both ways, nothing sent": (BOTH, (b"",), b""),
    "to the server": (method(joined, requests=True), (ONE, TWO), framed(b"onetwo")),
    "to the server, nothing sent": (method(joined, requests=True), (b"",), framed(b"")),
    "to the client": (
        method(letters, responses=True),
        (ONE,),
        framed(b"o") + framed(b"n") + framed(b"e"),
    ),
    "to the client, written": (method(written, responses=True), (ONE,), ONE + framed(b"more")),
    "cut anywhere": (BOTH, (ONE[:2], ONE[2:6], ONE[6:] + TWO[:1], TWO[1:]), ONE * 2 + TWO * 2),
}


@pytest.mark.parametrize(("shape", "parts", "body"), SHAPES.values(), ids=SHAPES)
async def test_every_streaming_shape_is_served(
    shape: Method, parts: tuple[bytes, ...], body: bytes
) -> None:
    """Messages each way in any number, and the status in trailers."""
    before = tasks()
    reply = await run(application(shape), *parts)
    assert (reply.status, reply.body, reply.grpc) == (200, body, OK)
    assert "grpc-status" in reply.trailers
    await until(lambda: tasks() <= before, "the tasks end")


WRONG = {
    "half a message": ((ONE, TWO[:4]), INTERNAL),
    "a compressed message": ((ONE, framed(b"x", flag=1)), UNIMPLEMENTED),
    "too large a message": ((ONE, framed(b"", length=1001)), EXHAUSTED),
}


@pytest.mark.parametrize(("parts", "code"), WRONG.values(), ids=WRONG)
async def test_a_stream_that_breaks_ends_in_its_status(
    parts: tuple[bytes, ...], code: int, caplog: pytest.LogCaptureFixture
) -> None:
    """What came before is answered, then the peer is told."""
    reply = await run(application(BOTH), *parts)
    assert (reply.body, reply.grpc) == (ONE + ONE, code)
    assert reply.message
    assert not caplog.records


async def test_bytes_that_cannot_be_parsed_end_a_stream() -> None:
    """A message of another kind is the peer's fault here too."""
    shape = method(each_twice, parse=lambda each: each.decode(), requests=True, responses=True)
    assert (await run(application(shape), framed(b"\xff"))).grpc == INTERNAL


@pytest.mark.parametrize("parts", [(b"",), (b"\0\0",)], ids=["nothing", "half a prefix"])
async def test_a_call_that_wants_one_message_and_gets_none(parts: tuple[bytes, ...]) -> None:
    """The servicer never runs."""
    reply = await run(application(method(letters, responses=True)), *parts)
    assert (reply.body, reply.grpc) == (b"", INTERNAL)


async def test_after_a_break_nothing_more_is_kept() -> None:
    """A peer that goes on sending after its mistake fills no memory."""
    hold = asyncio.Event()

    async def slow(requests: AsyncIterator[bytes], _: Any) -> AsyncIterator[bytes]:  # noqa: ANN401
        await hold.wait()
        async for request in requests:
            yield request

    exchange = Exchange(framed(b"", length=1001), *[b"\1" * 100] * 200, ends=False)
    app = application(method(slow, requests=True, responses=True))
    call = asyncio.ensure_future(app(scope(HEADERS), exchange.receive, exchange.send))
    await until(lambda: exchange.received == 5 + 20_000, "all is read, to see the caller go")
    hold.set()
    await call
    assert exchange.reply.grpc == EXHAUSTED


async def test_a_slow_servicer_holds_its_caller_back() -> None:
    """No more than a few messages wait in memory; the rest stays with the server's flow control."""
    hold = asyncio.Event()

    async def slow(requests: AsyncIterator[bytes], _: Any) -> bytes:  # noqa: ANN401
        await hold.wait()
        return b"".join([request async for request in requests])

    exchange = Exchange(*[ONE] * 200)
    app = application(method(slow, requests=True))
    call = asyncio.ensure_future(app(scope(HEADERS), exchange.receive, exchange.send))
    for _ in range(500):
        await asyncio.sleep(0)
    assert exchange.received <= len(ONE) * 20
    hold.set()
    await call
    assert exchange.reply.body == framed(b"one" * 200)


async def test_a_deadline_ends_a_stream() -> None:
    """A servicer that waits for its caller is stopped at the deadline; its clean-up runs first."""
    ended: list[str] = []

    async def endless(request: bytes, context: Any) -> AsyncIterator[bytes]:  # noqa: ANN401
        context.add_done_callback(lambda _: ended.append("done"))
        try:
            yield request
            await asyncio.Event().wait()
        finally:
            ended.append("cleaned")

    before = tasks()
    soon = [(b"grpc-timeout", b"20m")]
    reply = await run(application(method(endless, responses=True)), ONE, headers=soon)
    assert (reply.body, reply.grpc) == (ONE, EXCEEDED)
    assert ended == ["cleaned", "done"]
    await until(lambda: tasks() <= before, "the tasks end")


async def test_a_caller_that_goes_ends_a_stream_also_between_messages() -> None:
    """A generator that is stopped in the middle of sending is closed, not left to the collector."""
    ended: list[str] = []
    blocked = asyncio.Event()

    async def endless(request: bytes, _: Any) -> AsyncIterator[bytes]:  # noqa: ANN401
        try:
            while True:
                yield request
        finally:
            ended.append("cleaned")

    class Stalled(Exchange):
        async def send(self, message: Any) -> None:  # noqa: ANN401
            await super().send(message)
            if message["type"] == "http.response.body":
                blocked.set()
                await asyncio.Event().wait()

    before = tasks()
    exchange = Stalled(ONE)
    app = application(method(endless, responses=True))
    call = asyncio.ensure_future(app(scope(HEADERS), exchange.receive, exchange.send))
    await blocked.wait()
    exchange.leave()
    await call
    assert ended == ["cleaned"]
    await until(lambda: tasks() <= before, "the tasks end")


async def test_a_streaming_servicer_that_fails_or_aborts() -> None:
    """What was sent stays sent; the status tells the rest, without the failure's text."""

    async def fails(request: bytes, _: Any) -> AsyncIterator[bytes]:  # noqa: ANN401
        yield request
        raise ValueError("secret")

    async def aborts(request: bytes, context: Any) -> AsyncIterator[bytes]:  # noqa: ANN401
        yield request
        await context.abort(grpc.StatusCode.NOT_FOUND, "not here")

    reply = await run(application(method(fails, responses=True)), ONE)
    assert (reply.body, reply.grpc, reply.message) == (ONE, UNKNOWN, "internal error")
    reply = await run(application(method(aborts, responses=True)), ONE)
    assert (reply.body, reply.grpc, reply.message) == (ONE, NOT_FOUND, "not here")


async def test_a_unary_servicer_cannot_write() -> None:
    """A response that is written where one is returned is a mistake of ours, not a hang."""
    assert (await run(application(method(written)), ONE)).grpc == UNKNOWN
