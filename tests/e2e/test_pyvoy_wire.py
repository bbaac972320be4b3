"""gRPC on the pyvoy transport against the same on h2corn: equal answers, and each difference.

Both are processes as operators run them; their clocks go on, so what tells of time is left out.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc.aio
import h2.exceptions
import hyperframe.frame
import pytest
from hypothesis import given, settings

from tests.e2e.support.limiter import AS_SHIPPED, Limiter, run_limiter
from tests.rpc.support.calls import METHOD, Client, Failed, one, outcome
from tests.rpc.support.messages import ANY
from tests.rpc.support.raw_http2 import Pairs, Wire, grpc_headers
from tests.rpc.support.serving import POLICY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SLOW = POLICY.replace("/hour", "/year").replace("/minute", "/month")
OF_TIME = re.compile(r"after|reset", re.IGNORECASE)
LARGEST = 1 << 20
RESETS = 1500
WITH_NGHTTP2 = f"""
from ratelimitd.transports import pyvoy_config
ours = pyvoy_config._runtime
pyvoy_config._runtime = lambda: ours() | {{"envoy.reloadable_features.http2_use_oghttp2": False}}
{AS_SHIPPED}
"""
"""The other codec, which Envoy may choose for itself."""


def framed(message: bytes) -> bytes:
    """Return the one frame of a message."""
    return b"\0" + len(message).to_bytes(4, "big") + message


SOUND = framed(one("api_key=a").SerializeToString())


class Pair(NamedTuple):
    """The same limiter twice."""

    h2corn: Limiter
    pyvoy: Limiter


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    """A limiter on each of the two transports."""
    async with (
        run_limiter(SLOW, transport="h2corn") as h2corn,
        run_limiter(SLOW, transport="pyvoy") as pyvoy,
    ):
        yield Pair(h2corn, pyvoy)


@pytest.fixture
async def clients(pair: Pair) -> AsyncIterator[tuple[Client, Client]]:
    """A client of each."""
    async with (
        grpc.aio.insecure_channel(pair.h2corn.address) as h2corn,
        grpc.aio.insecure_channel(pair.pyvoy.address) as pyvoy,
    ):
        yield Client(h2corn), Client(pyvoy)


def timeless(answer: Any) -> Any:  # noqa: ANN401 - a response, or `Failed`
    """Return an answer without what tells of time, and without the random id of a lease."""
    if isinstance(answer, Failed):
        return answer
    answer.ClearField("dynamic_metadata")
    answer.ClearField("raw_body")
    for status in answer.statuses:
        status.ClearField("duration_until_reset")
    kept = [each for each in answer.response_headers_to_add if not OF_TIME.search(each.key)]
    del answer.response_headers_to_add[:]
    answer.response_headers_to_add.extend(kept)
    return answer


async def test_whatever_is_sent_is_answered_as_on_h2corn(clients: tuple[Client, Client]) -> None:
    """Generated messages, bytes that are no UTF-8 and bytes that are no message among them."""
    drawn = [one("api_key=over its limit").SerializeToString()] * 6

    @settings(max_examples=300, deadline=None, database=None, derandomize=True)
    @given(wire=ANY)
    def draw(wire: bytes) -> None:
        drawn.append(wire)

    draw()
    kinds = set()
    for wire in drawn:
        h2corn, pyvoy = [timeless(await outcome(client.send(wire))) for client in clients]
        assert h2corn == pyvoy, wire
        kinds.add(pyvoy.code if isinstance(pyvoy, Failed) else pyvoy.overall_code)
    assert len(kinds) >= 3


async def seen(address: str, headers: Pairs, *parts: bytes) -> str:
    """Return what becomes of a request: HTTP status and gRPC status, or the error that ends it."""
    async with Wire.open(address) as wire:
        try:
            reply = await wire.call(headers, *parts)
        except AssertionError:
            return "connection closed"
        except h2.exceptions.ProtocolError as error:
            return repr(error)
        if reply.reset is not None:
            return "stream reset"
        return f"{reply.status}" + ("" if reply.grpc is None else f", grpc {reply.grpc}")


def call(path: str = METHOD, **changes: str | None) -> Pairs:
    """Return a call's headers; see `grpc_headers`."""
    return grpc_headers(path, **changes)


def large(values: int) -> Pairs:
    """Return a call's headers with so many values of 8 KB beside them."""
    return [*call(), *((f"x-{index}", "y" * 8_000) for index in range(values))]


MANY = [*call(), *((f"x-{index}", "1") for index in range(400))]
ALIKE: dict[str, tuple[Pairs, tuple[bytes, ...], str]] = {
    "sound": (call(), (SOUND,), "200, grpc 0"),
    "in parts": (call(), (SOUND[:3], SOUND[3:], b""), "200, grpc 0"),
    "no te": (call(te=None), (SOUND,), "200, grpc 13"),
    "GET": ([(":method", "GET"), *call()[1:]], (), "405"),
    "no gRPC": (call(content_type="text/plain"), (SOUND,), "415"),
    "unknown method": (call("/a.B/C"), (SOUND,), "200, grpc 12"),
    "undecodable path": (call("/%ff"), (SOUND,), "200, grpc 12"),
    "compressed": (call(), (b"\1" + SOUND[1:],), "200, grpc 12"),
    "cut short": (call(), (SOUND[:-1],), "200, grpc 13"),
    "no message": (call(), (), "200, grpc 13"),
    "two messages": (call(), (SOUND, SOUND), "200, grpc 13"),
    "no timeout": (call(grpc_timeout="soon"), (SOUND,), "200, grpc 13"),
    "96 KiB of headers": (large(12), (SOUND,), "200, grpc 0"),
    "lying content-length": (call(content_length="3"), (SOUND,), "stream reset"),
}
OF_ENVOY: dict[str, tuple[Pairs, tuple[bytes, ...], str]] = {
    "200 KiB of headers": (large(25), (SOUND,), "stream reset"),
    "400 headers": (MANY, (SOUND,), "stream reset"),
    "upper case": ([*call(), ("X-A", "1")], (SOUND,), "connection closed"),
    "odd te": (call(te="gzip"), (SOUND,), "connection closed"),
    "no authority": (
        [pair for pair in call() if pair[0] != ":authority"],
        (SOUND,),
        "connection closed",
    ),
    "a method spelled with %": (
        call(METHOD.replace("Should", "%53hould")),
        (SOUND,),
        "200, grpc 12",
    ),
}
"""What Envoy answers by itself: it closes a connection whose peer breaks HTTP/2's rules."""


async def test_requests_end_as_on_h2corn_but_for_those_that_envoy_ends(pair: Pair) -> None:
    """Every row of the two tables."""
    found = {
        name: [await seen(each.address, headers, *parts) for each in pair]
        for name, (headers, parts, _) in ALIKE.items()
    }
    assert found == {name: [wanted, wanted] for name, (_, _, wanted) in ALIKE.items()}
    alone = {
        name: await seen(pair.pyvoy.address, headers, *parts)
        for name, (headers, parts, _) in OF_ENVOY.items()
    }
    assert alone == {name: wanted for name, (_, _, wanted) in OF_ENVOY.items()}


async def test_a_message_over_the_bound_is_refused(clients: tuple[Client, Client]) -> None:
    """By the application, as RESOURCE_EXHAUSTED; one that just fits is read."""
    for client in clients:
        assert (await outcome(client.send(b"\0" * (LARGEST + 1)))).code.name == "RESOURCE_EXHAUSTED"
        assert (await outcome(client.send(b"\0" * LARGEST))).code.name != "RESOURCE_EXHAUSTED"


async def resets(address: str) -> tuple[bool, int]:
    """Take `RESETS` calls back and make some in earnest; return if it was borne, and the answers.

    As an Envoy does whose clients go away, on the one connection of everybody.
    """
    async with Wire.open(address) as wire:
        earnest = []
        for index in range(RESETS):
            if wire.closed:
                break
            wire.reset(wire.request(call(), SOUND))
            if index % 5 == 0:
                earnest.append(wire.request(call(), SOUND))
                await asyncio.sleep(0.01)
        answered = [wire._replies[stream].grpc for stream in earnest[:-5]]
        return not wire.closed, answered.count(0)


async def test_calls_that_are_taken_back_cost_bystanders_nothing() -> None:
    """The connection stays, and whoever waits for an answer gets it."""
    async with run_limiter(SLOW, transport="pyvoy") as limiter:
        assert await resets(limiter.address) == (True, RESETS // 5 - 5)


async def test_with_the_other_codec_they_would_cost_the_connection() -> None:
    """The twin: nghttp2's own bound is no setting of Envoy's."""
    async with run_limiter(SLOW, transport="pyvoy", program=WITH_NGHTTP2) as limiter:
        borne, _ = await resets(limiter.address)
        assert not borne


class Recorder(Wire):
    """A connection whose frames are kept as they come."""

    async def _read(self) -> None:
        self.received = b""
        while data := await self._reader.read(65_536):
            self.received += data
            self._news.set()

    def goaways(self) -> list[int]:
        """Return the last stream that each GOAWAY says is served."""
        found, rest = [], memoryview(self.received)
        while len(rest) >= 9:
            frame, length = hyperframe.frame.Frame.parse_frame_header(rest[:9])
            if isinstance(frame, hyperframe.frame.GoAwayFrame):
                frame.parse_body(rest[9 : 9 + length])
                found.append(frame.last_stream_id)
            rest = rest[9 + length :]
        return found


async def test_a_connection_is_told_twice_before_it_ends() -> None:
    """GOAWAY for whatever comes, with the answer under way; the last one says what was served."""
    without_drain = f"import sys; sys.argv += ['--drain', '0s']; {AS_SHIPPED}"
    async with (
        run_limiter(SLOW, transport="pyvoy", program=without_drain) as limiter,
        Recorder.open(limiter.address) as wire,
    ):
        assert isinstance(wire, Recorder)
        stream = wire.request(call(), SOUND[:3], end=False)
        ending = asyncio.ensure_future(limiter.terminate())
        await asyncio.sleep(0.2)
        assert not ending.done()
        wire.send(stream, SOUND[3:], end=True)
        assert await ending == 0
        await asyncio.wait({wire._reading})
        assert wire.goaways() == [2**31 - 1, stream]


async def test_watches_that_are_taken_back_are_over() -> None:
    """Their callers' leaving is noticed: nobody is told of the end, and no fault is logged."""
    async with run_limiter(SLOW, transport="pyvoy") as limiter:
        async with grpc.aio.insecure_channel(limiter.address) as channel:
            watch: Any = channel.unary_stream("/grpc.health.v1.Health/Watch")
            watches = [watch(b"") for _ in range(30)]
            for each in watches:
                assert await each.read() == b"\x08\x01"
                each.cancel()
        assert await limiter.terminate() == 0
        log = await asyncio.to_thread(limiter.log.read_text, "utf-8")
        assert "level=error" not in log, log
