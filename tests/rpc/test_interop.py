"""gRPC's unary interoperability cases with grpcio's client, on each transport."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest

from tests.rpc.support.calls import Failed, failure, outcome
from tests.rpc.support.counting import tasks, until
from tests.rpc.support.interop import SECRET, SERVICE, SPECIAL, Service, handlers
from tests.rpc.support.serving import serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Code = grpc.StatusCode


@pytest.fixture
def service() -> Service:
    """The service behind `channel`."""
    return Service()


@pytest.fixture
async def channel(transport: str, service: Service) -> AsyncIterator[grpc.aio.Channel]:
    """A client's channel to it."""
    async with (
        serving(transport, handlers(service)) as address,
        grpc.aio.insecure_channel(address) as opened,
    ):
        yield opened


def method(channel: grpc.aio.Channel, name: str) -> Any:  # noqa: ANN401 - grpcio's own, untyped
    """Return a method of the service, with bytes for messages."""
    return channel.unary_unary(f"/{SERVICE}/{name}")


async def test_empty_unary(channel: grpc.aio.Channel) -> None:
    """A message without content is a message."""
    assert await method(channel, "echo")(b"") == b""


async def test_large_unary(channel: grpc.aio.Channel) -> None:
    """Messages of many frames, with the sizes of the interoperability suite."""
    assert len(await method(channel, "large")(bytes(271_828))) == 314_159


async def test_custom_metadata(channel: grpc.aio.Channel) -> None:
    """Text travels in headers, binary values in base64, both ways and whole."""
    binary = bytes(range(256))
    sent = (
        ("x-grpc-test-echo-initial", "test_initial_metadata_value"),
        ("x-grpc-test-echo-trailing-bin", binary),
    )
    call = method(channel, "metadata")(b"x", metadata=sent)
    assert await call == b"x"
    assert (await call.initial_metadata())["x-grpc-test-echo-initial"] == sent[0][1]
    assert (await call.trailing_metadata())["x-grpc-test-echo-trailing-bin"] == binary


async def test_status_code_and_message(channel: grpc.aio.Channel) -> None:
    """A status of the servicer's choice arrives with its text."""
    assert await failure(method(channel, "status")(b"test status message")) == (
        Code.UNKNOWN,
        "test status message",
    )


async def test_special_status_message(channel: grpc.aio.Channel) -> None:
    """Line breaks, and characters of every plane, survive in a status message."""
    failed = await failure(method(channel, "status")(SPECIAL.encode()))
    assert failed == (Code.UNKNOWN, SPECIAL)


@pytest.mark.parametrize("text", ["100% sure", "%41", "%", "%zz", "a" * 2000, "+ ~ \x7f \0"])
async def test_any_status_message(channel: grpc.aio.Channel, text: str) -> None:
    """Whatever looks like an escape is escaped."""
    assert (await failure(method(channel, "status")(text.encode()))).details == text


async def test_a_status_that_was_set(channel: grpc.aio.Channel) -> None:
    """A code set by the servicer wins over the message it returns."""
    assert await failure(method(channel, "set_status")(b"x")) == (Code.FAILED_PRECONDITION, "set")


async def test_an_abort_keeps_metadata(channel: grpc.aio.Channel) -> None:
    """Headers asked for before an abort, and trailers given with it, arrive."""
    call = method(channel, "refuses")(b"x")
    assert (await failure(call)).code is Code.NOT_FOUND
    metadata = [*(await call.initial_metadata()), *(await call.trailing_metadata())]
    assert ("early", "header") in metadata
    assert ("late", "trailer") in metadata


@pytest.mark.parametrize("name", ["/test.Service/no", "/no.Service/echo"])
async def test_unimplemented_method_and_service(channel: grpc.aio.Channel, name: str) -> None:
    """What is not served is UNIMPLEMENTED."""
    call: Any = channel.unary_unary(name)
    assert (await failure(call(b"x"))).code is Code.UNIMPLEMENTED


async def test_timeout_on_sleeping_server(channel: grpc.aio.Channel, service: Service) -> None:
    """The deadline ends the call for its caller, and the handler with it."""
    await method(channel, "echo")(b"x")
    before = len(tasks())
    assert (await failure(method(channel, "sleeps")(b"x", timeout=0.05))).code is (
        Code.DEADLINE_EXCEEDED
    )
    await until(lambda: len(service.ends) == 2, "the handler is cancelled and its callbacks run")
    assert sorted(service.ends) == ["cancelled", "done"]
    await until(lambda: len(tasks()) <= before, "the tasks end")


async def test_cancel_after_begin(channel: grpc.aio.Channel, service: Service) -> None:
    """A caller that takes its call back ends the handler."""
    await method(channel, "echo")(b"x")
    before = len(tasks())
    call = method(channel, "sleeps")(b"x")
    waited = asyncio.ensure_future(outcome(call))
    await until(lambda: service.waiting, "the handler waits")
    call.cancel()
    await asyncio.wait({waited})
    await until(lambda: len(service.ends) == 2, "the handler is cancelled and its callbacks run")
    assert sorted(service.ends) == ["cancelled", "done"]
    await until(lambda: len(tasks()) <= before, "the tasks end")


async def test_a_caller_that_closes_its_connection(
    transport: str, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """The end of a connection ends its calls, and is no line in the log."""
    async with serving(transport, handlers(service)) as address:
        async with grpc.aio.insecure_channel(address) as closing:
            calls = [asyncio.ensure_future(outcome(_begun(closing))) for _ in range(5)]
            await until(lambda: service.waiting == 5, "the handlers wait")
        await asyncio.wait(calls)
        await until(lambda: len(service.ends) == 10, "the handlers are cancelled")
        assert await until_quiet(caplog) == []


async def _begun(channel: grpc.aio.Channel) -> object:
    return await method(channel, "sleeps")(b"x")


async def until_quiet(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged, once what could still log has had its turn."""
    for _ in range(20):
        await asyncio.sleep(0)
    return [record.getMessage() for record in caplog.records]


async def test_client_compressed_unary(channel: grpc.aio.Channel, transport: str) -> None:
    """A server of grpcio inflates; the adapter says what it takes instead. Envoy never does it."""
    result = await outcome(
        method(channel, "echo")(b"x" * 10_000, compression=grpc.Compression.Gzip)
    )
    if isinstance(result, Failed):
        assert transport != "grpcio"
        assert result.code is Code.UNIMPLEMENTED
        assert "identity" in result.details
    else:
        assert transport == "grpcio"
        assert result == b"x" * 10_000


@pytest.mark.parametrize("name", ["fails", "fails_later", "awaits_cancelled"])
async def test_a_servicer_that_fails(
    channel: grpc.aio.Channel, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """UNKNOWN without the failure's text; one line for the operator, without it as well."""
    failed = await failure(method(channel, name)(SECRET.encode()))
    assert failed == (Code.UNKNOWN, "internal error")
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "a servicer failed"
    assert SECRET not in str(record.__dict__)


async def test_a_stream_that_fails(
    channel: grpc.aio.Channel, caplog: pytest.LogCaptureFixture
) -> None:
    """What was sent before arrives; the failure's text does not."""
    call: Any = channel.unary_stream(f"/{SERVICE}/stream_fails")
    reading = call(b"x")
    assert await reading.read() == b"x"
    assert await reading.code() is Code.UNKNOWN
    assert await reading.details() == "internal error"
    (record,) = caplog.records
    assert SECRET not in str(record.__dict__)


async def test_rpc_soak(channel: grpc.aio.Channel) -> None:
    """Hundreds of calls on one channel, none of which fails."""
    echo = method(channel, "echo")
    for first in range(0, 400, 50):
        sent = [b"%d" % number for number in range(first, first + 50)]
        assert await asyncio.gather(*(echo(each) for each in sent)) == sent


async def test_channel_soak(transport: str, service: Service) -> None:
    """A channel for each call, ten times."""
    async with serving(transport, handlers(service)) as address:
        for _ in range(10):
            async with grpc.aio.insecure_channel(
                address, options=[("grpc.use_local_subchannel_pool", 1)]
            ) as one:
                assert await method(one, "echo")(b"x") == b"x"
