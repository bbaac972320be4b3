"""gRPC's thirteen unary interoperability cases: grpcio's client, the test service on our stack.

`tests/rpc/test_interop.py` has them in one process and in more detail; here each transport is a
process, pyvoy among them, with the suite's own messages and sizes.
"""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio
import pytest

from tests.e2e.support.limiter import run_limiter
from tests.robustness import outcomes
from tests.robustness.outcomes import TRANSPORTS
from tests.robustness.support import planted, testing
from tests.robustness.support.testing import INITIAL, SERVICE, TRAILING, Empty, SimpleRequest
from tests.robustness.support.watched import POLICY
from tests.rpc.support.raw_http2 import Wire, grpc_headers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

REQUEST, RESPONSE = 271_828, 314_159
SPECIAL: Final = "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n"
PATIENCE: Final = 10.0
Code = grpc.StatusCode


@pytest.fixture(scope="module", params=TRANSPORTS)
async def target(request: pytest.FixtureRequest) -> AsyncIterator[tuple[str, str]]:
    """A transport, and the address of a limiter that has the test service on it."""
    name: str = request.param
    program = planted.program("a test service")
    async with run_limiter(POLICY, transport=name, program=program) as limiter:
        yield name, limiter.address


class Client:
    """The calls of the cases, on a channel of their own."""

    def __init__(self, address: str) -> None:
        self.address = address
        options = [("grpc.use_local_subchannel_pool", 1)]
        self.channel = grpc.aio.insecure_channel(address, options=options)

    def call(self, name: str, sent: Any, **more: Any) -> Any:  # noqa: ANN401
        """Begin a call of the test service, or of any path."""
        path = name if name.startswith("/") else f"/{SERVICE}/{name}"
        answer = Empty if name == "EmptyCall" else testing.SimpleResponse
        method: Any = self.channel.unary_unary(
            path, request_serializer=_serialized, response_deserializer=answer.FromString
        )
        return method(sent, **{"timeout": PATIENCE, **more})

    async def fails(self, name: str, sent: Any, **more: Any) -> tuple[Code, str]:  # noqa: ANN401
        """Return what a call ends with."""
        call = self.call(name, sent, **more)
        with pytest.raises(grpc.aio.AioRpcError):
            await call
        return await call.code(), await call.details()


def _serialized(sent: Any) -> bytes:  # noqa: ANN401
    written: bytes = sent.SerializeToString()
    return written


def _large(**more: Any) -> Any:  # noqa: ANN401
    return SimpleRequest(response_size=RESPONSE, payload={"body": bytes(REQUEST)}, **more)


async def _exchange(client: Client, **more: Any) -> None:  # noqa: ANN401
    answer = await client.call("UnaryCall", _large(), **more)
    assert len(answer.payload.body) == RESPONSE


async def empty_unary(client: Client) -> None:
    """A message without content is a message."""
    assert await client.call("EmptyCall", Empty()) == Empty()


async def large_unary(client: Client) -> None:
    """Many frames each way."""
    await _exchange(client)


async def custom_metadata(client: Client) -> None:
    """Text in the headers, bytes in the trailers."""
    sent = ((INITIAL, "test_initial_metadata_value"), (TRAILING, b"\xab\xab\xab"))
    call = client.call("UnaryCall", _large(), metadata=sent)
    await call
    assert (await call.initial_metadata())[INITIAL] == "test_initial_metadata_value"
    assert (await call.trailing_metadata())[TRAILING] == b"\xab\xab\xab"


async def status_code_and_message(client: Client) -> None:
    """UNKNOWN, and a text."""
    sent = SimpleRequest(response_status={"code": 2, "message": "test status message"})
    assert await client.fails("UnaryCall", sent) == (Code.UNKNOWN, "test status message")


async def special_status_message(client: Client) -> None:
    """Whitespace and characters of every plane."""
    sent = SimpleRequest(response_status={"code": 2, "message": SPECIAL})
    assert await client.fails("UnaryCall", sent) == (Code.UNKNOWN, SPECIAL)


async def unimplemented_method(client: Client) -> None:
    """A service that is there."""
    code, _ = await client.fails("UnimplementedCall", Empty())
    assert code is Code.UNIMPLEMENTED


async def unimplemented_service(client: Client) -> None:
    """A service that is not."""
    code, _ = await client.fails("/grpc.testing.UnimplementedService/UnimplementedCall", Empty())
    assert code is Code.UNIMPLEMENTED


async def timeout_on_sleeping_server(client: Client) -> None:
    """The deadline holds whatever the server does."""
    code, _ = await client.fails("SleepingCall", _large(), timeout=0.05)
    assert code is Code.DEADLINE_EXCEEDED


async def cancel_after_begin(client: Client) -> None:
    """A call that is taken back is CANCELLED, and the channel lives on."""
    call = client.call("SleepingCall", SimpleRequest())
    await asyncio.sleep(0.05)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await call.code() is Code.CANCELLED
    await empty_unary(client)


async def client_compressed_unary(client: Client) -> str:
    """Inflated, or refused with what is taken instead."""
    call = client.call("UnaryCall", _large(), compression=grpc.Compression.Gzip)
    code, details = await call.code(), await call.details()
    if code is Code.OK:
        assert len((await call).payload.body) == RESPONSE
        return "inflated"
    assert "identity" in details
    return str(code.name)


async def server_compressed_unary(client: Client) -> str:
    """Asked for a compressed answer, with gzip taken: compressed, or whole as it is."""
    sent = _serialized(SimpleRequest(response_size=RESPONSE, response_compressed={"value": True}))
    headers = grpc_headers(f"/{SERVICE}/UnaryCall", grpc_accept_encoding="identity,gzip")
    async with Wire.open(client.address) as wire:
        reply = await wire.call(headers, b"\0" + len(sent).to_bytes(4) + sent)
    assert reply.grpc == 0
    flag, length, message = reply.body[0], int.from_bytes(reply.body[1:5]), reply.body[5:]
    assert length == len(message)
    encoding = reply.headers.get("grpc-encoding", "identity")
    if flag:
        message = {"gzip": gzip.decompress}[encoding](message)
    assert len(testing.SimpleResponse.FromString(message).payload.body) == RESPONSE
    return encoding if flag else "identity"


async def rpc_soak(client: Client) -> None:
    """One channel, call after call."""
    for _ in range(10):
        await _exchange(client)


async def channel_soak(client: Client) -> None:
    """A channel for each call."""
    for _ in range(10):
        other = Client(client.address)
        await _exchange(other)
        await other.channel.close()


CASES: Final[dict[str, Callable[[Client], Awaitable[str | None]]]] = {
    case.__name__: case
    for case in (
        empty_unary,
        large_unary,
        custom_metadata,
        status_code_and_message,
        special_status_message,
        unimplemented_method,
        unimplemented_service,
        timeout_on_sleeping_server,
        cancel_after_begin,
        client_compressed_unary,
        server_compressed_unary,
        rpc_soak,
        channel_soak,
    )
}


@pytest.mark.parametrize("case", CASES)
async def test_a_case_ends_as_the_table_says(target: tuple[str, str], case: str) -> None:
    """Whatever goes wrong in a case is its failure; those of compression have two right ends."""
    transport, address = target
    client = Client(address)
    try:
        async with asyncio.timeout(2 * PATIENCE):
            ending = await CASES[case](client) or "passes"
    finally:
        await client.channel.close()
    assert ending == outcomes.of(outcomes.INTEROP, case, transport)
