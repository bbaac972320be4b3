"""gRPC over ASGI, one message each way: bodies, refusals, failures. No sockets."""

from __future__ import annotations

import logging
from typing import Any, NoReturn

import pytest

from tests.rpc.support.asgi import PATH, Exchange, application, framed, method, run, scope

OK, UNKNOWN, NOT_FOUND, EXHAUSTED, UNIMPLEMENTED, INTERNAL = 0, 2, 5, 8, 12, 13
MESSAGE = framed(b"hello")


async def test_a_call_is_answered_with_headers_a_message_and_trailers() -> None:
    """The shape of every good answer."""
    exchange = Exchange(MESSAGE)
    app = application(method())
    await app(scope([(b"content-type", b"application/grpc")]), exchange.receive, exchange.send)
    assert exchange.sent == [
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"application/grpc")],
            "trailers": True,
        },
        {"type": "http.response.body", "body": MESSAGE, "more_body": False},
        {
            "type": "http.response.trailers",
            "headers": [(b"grpc-status", b"0")],
            "more_trailers": False,
        },
    ]


BODIES = {
    "one part": (MESSAGE,),
    "an empty end, as Envoy ends": (MESSAGE, b""),
    "a byte at a time": tuple(MESSAGE[at : at + 1] for at in range(len(MESSAGE))),
    "empty parts between": (b"", MESSAGE[:3], b"", MESSAGE[3:], b"", b""),
    "prefix and message apart": (MESSAGE[:5], MESSAGE[5:]),
}


@pytest.mark.parametrize("parts", BODIES.values(), ids=BODIES)
async def test_a_body_in_any_number_of_parts_is_one_message(parts: tuple[bytes, ...]) -> None:
    """How frames cut a message means nothing."""
    reply = await run(application(method()), *parts)
    assert (reply.status, reply.grpc, reply.body) == (200, OK, MESSAGE)


WRONG = {
    "nothing": ((b"",), INTERNAL),
    "half a prefix": ((b"\0\0\0",), INTERNAL),
    "a prefix alone": ((framed(b"", length=3),), INTERNAL),
    "too few bytes": ((framed(b"hello", length=6),), INTERNAL),
    "too many bytes": ((framed(b"hello", length=4),), INTERNAL),
    "two messages": ((MESSAGE + MESSAGE,), INTERNAL),
    "two messages in two parts": ((MESSAGE, MESSAGE), INTERNAL),
    "a compressed message": ((framed(b"hello", flag=1),), UNIMPLEMENTED),
    "a flag of the future": ((framed(b"hello", flag=2),), UNIMPLEMENTED),
    "too large": ((framed(b"x" * 1001),), EXHAUSTED),
    "too large in parts": ((framed(b"x" * 1001)[:500], b"x" * 506), EXHAUSTED),
    "a length of 4 GiB": ((b"\0\xff\xff\xff\xff",), INTERNAL),
}


@pytest.mark.parametrize(("parts", "code"), WRONG.values(), ids=WRONG)
async def test_a_body_that_is_not_one_message_is_refused(
    parts: tuple[bytes, ...], code: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The peer is told by a status in the headers, the servicer never runs, nothing is logged."""
    called = []

    async def behavior(request: bytes, _: Any) -> bytes:  # noqa: ANN401
        called.append(request)
        return request

    reply = await run(application(method(behavior)), *parts)
    assert (reply.status, reply.grpc, reply.body, reply.trailers) == (200, code, b"", {})
    assert reply.message
    assert not called
    assert not caplog.records


async def test_an_empty_message_is_a_message() -> None:
    """Five bytes of prefix are one message without content."""
    reply = await run(application(method()), framed(b""))
    assert (reply.grpc, reply.body) == (OK, framed(b""))


async def test_the_largest_message_is_taken() -> None:
    """The bound itself is inside."""
    reply = await run(application(method()), framed(b"x" * 1000))
    assert (reply.grpc, len(reply.body)) == (OK, 1005)


async def test_a_refusal_of_compression_says_what_is_taken() -> None:
    """UNIMPLEMENTED with grpc-accept-encoding, so that a client can send again."""
    reply = await run(application(method()), framed(b"hello", flag=1))
    assert reply.headers["grpc-accept-encoding"] == "identity"


async def test_a_body_without_end_is_read_no_further_than_its_bound() -> None:
    """Memory is bounded by what is read, whatever the peer goes on sending."""
    exchange = Exchange(*[b"\0" * 100] * 1000)
    await application(method())(
        scope([(b"content-type", b"application/grpc")]), exchange.receive, exchange.send
    )
    assert exchange.reply.grpc == EXHAUSTED
    assert exchange.received <= 1005 + 100


TYPES = {
    "application/grpc": True,
    "application/grpc+proto": True,
    "application/grpc+json": True,
    "application/grpc;charset=utf-8": True,
    "Application/GRPC": True,
    "application/grpc-web": False,
    "application/grpc-web+proto": False,
    "application/grpcx": False,
    "application/json": False,
    "text/html": False,
    "": False,
}


@pytest.mark.parametrize(("kind", "good"), TYPES.items(), ids=lambda value: str(value) or "none")
async def test_only_grpc_is_spoken(kind: str, good: bool) -> None:
    """Other media types are 415, whatever they resemble."""
    exchange = Exchange(MESSAGE)
    headers = [(b"content-type", kind.encode())] if kind else []
    await application(method())(scope(headers), exchange.receive, exchange.send)
    reply = exchange.reply
    assert (reply.status, reply.grpc) == ((200, OK) if good else (415, None))


@pytest.mark.parametrize("verb", ["GET", "HEAD", "PUT", "OPTIONS", "DELETE"])
async def test_only_post_is_taken(verb: str) -> None:
    """Other methods of HTTP are 405 and told which one is."""
    reply = await run(application(method()), b"", method=verb)
    assert (reply.status, reply.headers["allow"]) == (405, "POST")


async def test_without_trailers_no_call_can_be_answered() -> None:
    """A peer that sends no `te: trailers` is told so; the servicer does not run."""
    reply = await run(application(method()), MESSAGE, extensions={})
    assert (reply.status, reply.grpc) == (200, INTERNAL)
    assert "te: trailers" in reply.message


async def test_a_websocket_is_turned_away() -> None:
    """A server that offers WebSockets gets a close, not an exception."""
    exchange = Exchange()
    await application(method())(
        {"type": "websocket", "path": PATH, "headers": []}, exchange.receive, exchange.send
    )
    assert exchange.sent == [{"type": "websocket.close"}]


async def test_an_unknown_method_is_unimplemented() -> None:
    """Whether its service is known or not; what was asked for is not echoed."""
    for path in ("/test.Service/Other", "/", "/no.Such/Method", "/test.Service/method"):
        reply = await run(application(method()), MESSAGE, path=path)
        assert (reply.status, reply.grpc, reply.message) == (200, UNIMPLEMENTED, "unknown method")


TIMEOUTS = (b"", b"S", b"1", b"1s", b"-1S", b"1.5S", b"123456789S", b" 1S", b"\xff", "²S".encode())


@pytest.mark.parametrize("value", TIMEOUTS, ids=repr)
async def test_a_timeout_that_is_none_is_refused(value: bytes) -> None:
    """A deadline that cannot be read is not guessed."""
    reply = await run(application(method()), MESSAGE, headers=[(b"grpc-timeout", value)])
    assert (reply.status, reply.grpc) == (200, INTERNAL)


@pytest.mark.parametrize("value", [b"99999999H", b"00000001M", b"1S", b"20m", b"1u", b"1n", b"0n"])
async def test_an_answer_that_is_there_at_once_is_given(value: bytes) -> None:
    """A decision from memory is made whatever little time was left."""
    reply = await run(application(method()), MESSAGE, headers=[(b"grpc-timeout", value)])
    assert reply.grpc == OK


SECRET = "Bearer sk-very-secret"


async def raises(request: bytes, _: Any) -> None:  # noqa: ANN401
    """Fail with a text that quotes the request, from an error that does so as well."""
    try:
        int(SECRET)
    except ValueError as error:
        raise KeyError(SECRET, request) from error


FAILURES = {
    "the servicer": method(raises),
    "what it returns": method(serialize=lambda _: int(SECRET).to_bytes()),
    "no coroutine": method(lambda *_: SECRET),
}


@pytest.mark.parametrize("failing", FAILURES.values(), ids=FAILURES)
async def test_a_servicer_that_fails_ends_in_unknown(
    failing: Any,  # noqa: ANN401
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The caller learns nothing, the operator once: what failed and where, not what was asked."""
    reply = await run(application(failing), framed(SECRET.encode()))
    assert (reply.grpc, reply.message, reply.body) == (UNKNOWN, "internal error", b"")
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.__dict__["error"]
    assert __file__ in record.__dict__["where"] or "grpc_asgi.py" in record.__dict__["where"]
    assert "secret" not in str(record.__dict__)


async def test_the_chain_of_a_failure_is_told_by_its_kinds(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What an exception came from is named, without its text."""
    await run(application(method(raises)), MESSAGE)
    assert caplog.records[0].__dict__["error"] == "KeyError from ValueError"


@pytest.mark.parametrize("error", [TimeoutError, ConnectionError, ConnectionResetError, OSError])
async def test_a_servicers_own_timeout_is_not_its_callers(error: type[Exception]) -> None:
    """What a store raised does not pass for the caller's deadline or departure."""

    async def behavior(*_: object) -> NoReturn:
        raise error

    reply = await run(application(method(behavior)), MESSAGE)
    assert reply.grpc == UNKNOWN


async def test_bytes_that_cannot_be_parsed_are_the_peers_fault(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A message of another kind is INTERNAL and no line in the log."""

    def parse(_: bytes) -> NoReturn:
        raise ValueError(SECRET)

    reply = await run(application(method(parse=parse)), MESSAGE)
    assert (reply.grpc, reply.message) == (INTERNAL, "the bytes are no message of this method")
    assert not caplog.records
