"""Raw HTTP/2 on each transport: frames, headers and bodies that no gRPC client would send.

Where transports differ, the table says so; none of it may end in a charge, a hang or an exception.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from tests.rpc.support.asgi import framed
from tests.rpc.support.calls import METHOD, OK, Client, one
from tests.rpc.support.counting import tasks, until
from tests.rpc.support.raw_http2 import Wire, grpc_headers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ratelimitd.app import Service

CALL = framed(one("api_key=wire").SerializeToString())
HEADERS = grpc_headers(METHOD)
UNUSED = 10
UNIMPLEMENTED, INTERNAL, EXHAUSTED, INVALID = 12, 13, 8, 3


@pytest.fixture
async def wire(service: Service) -> AsyncIterator[Wire]:
    """A raw connection to `service`, whose first settings have been exchanged."""
    async with Wire.open(service.addresses["grpc"][0]) as opened:
        yield opened


async def test_a_plain_call(wire: Wire, client: Client) -> None:
    """The twin of all that follows: a sound call is answered and charged."""
    reply = await wire.call(HEADERS, CALL)
    assert (reply.status, reply.grpc, reply.reset) == (200, 0, None)
    assert reply.headers["content-type"] == "application/grpc"
    assert int.from_bytes(reply.body[1:5], "big") == len(reply.body) - 5
    assert await client.remaining("api_key=wire") == 4


FRAMES = {
    "an empty end, as Envoy ends": (CALL, b""),
    "a byte in each": tuple(CALL[at : at + 1] for at in range(len(CALL))),
    "cut in the prefix": (CALL[:2], CALL[2:]),
    "with empty ones between": (CALL[:9], b"", CALL[9:], b""),
}


@pytest.mark.parametrize("parts", FRAMES.values(), ids=FRAMES)
async def test_frames_mean_nothing(wire: Wire, client: Client, parts: tuple[bytes, ...]) -> None:
    """However a message is cut into DATA frames, it is one call with one charge."""
    reply = await wire.call(HEADERS, *parts)
    assert (reply.status, reply.grpc) == (200, 0)
    assert await client.remaining("api_key=wire") == 4


async def test_frames_may_come_late(wire: Wire) -> None:
    """The parts of a call may be apart in time; other calls on the connection go on."""
    slow = wire.request(HEADERS, CALL[:7], end=False)
    assert (await wire.call(HEADERS, CALL)).grpc == 0
    wire.send(slow, CALL[7:], end=True)
    assert (await wire.reply(slow)).grpc == 0


SILENT = None
"""Grpcio's server does not end such a call: its peer has to."""
BROKEN = {
    # name: (body parts, the gRPC status of the adapter, that of grpcio)
    "no message": ((b"",), INTERNAL, SILENT),
    "half a prefix": ((CALL[:3],), INTERNAL, SILENT),
    "half a message": ((CALL[:9],), INTERNAL, SILENT),
    "a prefix that promises more": ((framed(CALL[5:], length=len(CALL)),), INTERNAL, SILENT),
    "a compressed message": ((framed(CALL[5:], flag=1),), UNIMPLEMENTED, INTERNAL),
    "a flag that is none": ((framed(CALL[5:], flag=7),), UNIMPLEMENTED, INVALID),
    "a promise of 4 GiB": ((b"\0\xff\xff\xff\xff",), INTERNAL, EXHAUSTED),
}


@pytest.mark.parametrize(("parts", "adapter", "grpcio"), BROKEN.values(), ids=BROKEN)
async def test_a_broken_body_is_no_call(
    transport: str,
    wire: Wire,
    client: Client,
    parts: tuple[bytes, ...],
    adapter: int,
    grpcio: int | None,
) -> None:
    """A peer that frames wrong is told so and charged nothing; its connection goes on."""
    stream = wire.request(HEADERS, *parts)
    expected = grpcio if transport == "grpcio" else adapter
    if expected is not SILENT:
        assert (await wire.reply(stream)).grpc == expected
    assert (await wire.call(HEADERS, framed(one("x=y").SerializeToString()))).grpc == 0
    if expected is SILENT:
        assert not wire.has_ended(stream)
        wire.reset(stream)
    assert await client.remaining("api_key=wire") == UNUSED


async def test_two_messages_in_a_unary_call(transport: str, wire: Wire, client: Client) -> None:
    """The adapter refuses them; grpcio's server takes the first and drops the other."""
    reply = await wire.call(HEADERS, CALL + CALL)
    charged = 1 if transport == "grpcio" else 0
    assert reply.grpc == (0 if charged else INTERNAL)
    assert await client.remaining("api_key=wire") == (4 if charged else UNUSED)


REFUSED: dict[str, tuple[dict[str, str | None], tuple[int, int | None]]] = {
    # name: (changed headers, HTTP and gRPC status of the adapter; 0: reset by h2corn)
    "GET": ({":method": "GET"}, (405, None)),
    "PUT": ({":method": "PUT"}, (405, None)),
    "no content type": ({"content_type": None}, (415, None)),
    "another content type": ({"content_type": "application/json"}, (415, None)),
    "gRPC-Web": ({"content_type": "application/grpc-web"}, (415, None)),
    "no te": ({"te": None}, (200, INTERNAL)),
    "an unknown path": ({":path": "/no.Such/Method"}, (200, UNIMPLEMENTED)),
    "no path at all": ({":path": "*"}, (0, None)),
}
LENIENT = {"no content type", "another content type", "gRPC-Web"}
"""What grpcio's server answers all the same."""


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_no_grpc_call_is_refused(
    transport: str, wire: Wire, client: Client, name: str
) -> None:
    """By an HTTP status, a gRPC status or a reset: at once, and never by a charge."""
    changes, adapter = REFUSED[name]
    reply = await wire.call(grpc_headers(METHOD, **changes), CALL)
    if transport != "grpcio":
        assert (reply.status, reply.grpc) == adapter, reply
    elif name in LENIENT:
        assert reply.grpc == 0
    else:
        assert reply.grpc != 0
    assert await client.remaining("api_key=wire") == (4 if reply.grpc == 0 else UNUSED)


GOOD = {
    "application/grpc+proto": {"content_type": "application/grpc+proto"},
    "parameters": {"content_type": "application/grpc;a=b"},
    "a deadline": {"grpc_timeout": "100m"},
    "a deadline of years": {"grpc_timeout": "99999999H"},
    "Envoy's headers": {
        "x_envoy_internal": "true",
        "x_forwarded_for": "10.0.0.1",
        "x_envoy_expected_rq_timeout_ms": "20",
        "grpc_timeout": "20m",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    },
    "binary metadata": {"trace_bin": "AAEC/w"},
    "an encoding that is accepted": {"grpc_accept_encoding": "gzip, deflate"},
}


@pytest.mark.parametrize("changes", GOOD.values(), ids=GOOD)
async def test_sound_headers_are_served(wire: Wire, changes: dict[str, str | None]) -> None:
    """What gRPC allows, and whatever metadata comes along, is decided."""
    reply = await wire.call(grpc_headers(METHOD, **changes), CALL)
    assert (reply.status, reply.grpc) == (200, 0)


@pytest.mark.parametrize("value", ["", "S", "1", "1s", "-1S", "1.5S"])
async def test_a_deadline_that_is_none(wire: Wire, client: Client, value: str) -> None:
    """A deadline that cannot be read is refused, not guessed."""
    reply = await wire.call(grpc_headers(METHOD, grpc_timeout=value), CALL)
    assert reply.grpc == INTERNAL
    assert await client.remaining("api_key=wire") == UNUSED


@pytest.mark.parametrize("value", ["123456789S", "1 S"])
async def test_a_deadline_that_only_grpcio_reads(transport: str, wire: Wire, value: str) -> None:
    """The protocol allows eight digits and no space; grpcio's server is more generous."""
    reply = await wire.call(grpc_headers(METHOD, grpc_timeout=value), CALL)
    assert reply.grpc == (0 if transport == "grpcio" else INTERNAL)


async def test_binary_metadata_that_is_no_base64(transport: str, wire: Wire) -> None:
    """Nobody here reads it: the adapter leaves it alone, grpcio's server refuses the call."""
    reply = await wire.call(grpc_headers(METHOD, trace_bin="%%%"), CALL)
    assert reply.grpc == (INTERNAL if transport == "grpcio" else 0)


async def test_a_body_over_the_bound_is_refused(wire: Wire, client: Client) -> None:
    """RESOURCE_EXHAUSTED while it is still being sent; its connection goes on."""
    stream = wire.request(HEADERS, end=False)
    wire.send(stream, framed(b"", length=4 << 20))
    for _ in range(1024):
        credit = await wire.credit(stream)
        if wire.has_ended(stream):
            break
        wire.send(stream, b"\0" * min(credit, 16_000))
    reply = await wire.reply(stream)
    assert reply.grpc == EXHAUSTED, reply
    assert await client.code("api_key=a") == OK


async def test_a_call_taken_back_before_its_end_is_not_charged(wire: Wire, client: Client) -> None:
    """RST_STREAM in the middle of a body: no decision was made."""
    before = len(tasks())
    for _ in range(20):
        stream = wire.request(HEADERS, CALL[:-1], end=False)
        wire.reset(stream)
    assert (await wire.call(HEADERS, framed(one("api_key=b").SerializeToString()))).grpc == 0
    assert await client.remaining("api_key=wire") == UNUSED
    await until(lambda: len(tasks()) <= before + 1, "the tasks end")


async def test_headers_over_the_bound_are_refused(wire: Wire, client: Client) -> None:
    """Over 128 KiB of metadata are too much; the connection and its calls go on."""
    assert (await wire.call(HEADERS, CALL)).grpc == 0  # now both ends keep each other's settings
    large = {f"x_{number}": "v" * 8000 for number in range(25)}
    reply = await wire.call(grpc_headers(METHOD, **large), CALL)
    assert (reply.status, reply.grpc) in ((431, None), (200, EXHAUSTED)), reply
    assert (await wire.call(HEADERS, CALL)).grpc == 0
    assert await client.remaining("api_key=wire") == 3


NOISE = (b"\x16\x03\x01\x02\x00" + b"\0" * 512, b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 64)


async def test_bytes_that_are_no_http2_end_their_connection(
    service: Service, client: Client
) -> None:
    """A TLS hello, HTTP/1.1, or noise: closed by and by, and nobody else is touched."""
    host, _, port = service.addresses["grpc"][0].rpartition(":")

    async def closes(noise: bytes) -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(noise)
        with contextlib.suppress(ConnectionError):
            while await reader.read(4096):
                pass
        writer.close()

    async with asyncio.timeout(30):
        closing = asyncio.gather(*map(closes, NOISE))
        assert await client.code("api_key=a") == OK
        await closing
    assert await client.code("api_key=a") == OK
