"""The application that pyvoy loads: what it mends of pyvoy's, and when it lets Envoy listen."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from ratelimitd.transports import pyvoy
from ratelimitd.transports.grpc_asgi import GrpcApplication
from ratelimitd.transports.pyvoy import Host

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ratelimitd.transports.grpc_asgi import Message, Receive, Send

TE = (b"te", b"trailers")
BODY: Message = {"type": "http.request", "body": b"x", "more_body": True}
END: Message = {"type": "http.request", "body": b"", "more_body": False}
GONE: Message = {"type": "http.disconnect"}


class Seen(GrpcApplication):
    """An application that notes the scopes, and does with a call what the test says."""

    def __init__(self, then: Callable[[Receive], Awaitable[None]]) -> None:
        super().__init__({})
        self.scopes: list[Message] = []
        self._then = then

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Note, and do."""
        self.scopes.append(scope)
        await self._then(receive)


def scope(*headers: tuple[bytes, bytes]) -> Message:
    """Return a scope as pyvoy makes it: with trailers for everybody."""
    return {
        "type": "http",
        "headers": list(headers),
        "extensions": {"http.response.trailers": {}},
    }


async def nothing(*_: object) -> None:
    """Do nothing."""


async def silent() -> Message:
    """Receive an empty request."""
    return END


def hosting(application: GrpcApplication) -> Host:
    """Return a host that serves an application already."""
    host = Host(nothing)
    host._grpc = application
    return host


async def test_trailers_are_for_those_who_take_them() -> None:
    """They are offered to all by pyvoy, and dropped where `te: trailers` is missing."""
    application = Seen(nothing)
    host = hosting(application)
    await host(scope(TE), silent, nothing)
    await host(scope((b"te", b"gzip")), silent, nothing)
    offered = [bool(each["extensions"]) for each in application.scopes]
    assert offered == [True, False]


async def test_a_caller_that_leaves_is_missed_without_spinning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its `receive` goes on to answer at once, with empty bodies, while the caller stays."""
    monkeypatch.setattr(pyvoy, "_SOON", 0.001)
    events = [BODY, END, *[END] * 3, GONE]
    received: list[Message] = []
    asked = 0

    async def receive() -> Message:
        nonlocal asked
        asked += 1
        return events.pop(0)

    async def then(receive: Receive) -> None:
        received.extend([await receive() for _ in range(3)])

    await hosting(Seen(then))(scope(TE), receive, nothing)
    assert received == [BODY, END, GONE]
    assert asked == 6


async def test_more_calls_than_the_bound_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 503; and when the others have ended, calls are answered again."""
    monkeypatch.setattr(pyvoy, "CALLS", 2)
    sent: list[Message] = []
    go = asyncio.Event()

    async def send(message: Message) -> None:
        sent.append(message)

    async def then(_: object) -> None:
        await go.wait()

    application = Seen(then)
    host = hosting(application)
    calls = [asyncio.ensure_future(host(scope(TE), silent, send)) for _ in range(3)]
    await calls[2]
    assert [message.get("status") for message in sent] == [503, None]
    go.set()
    await asyncio.gather(*calls)
    await host(scope(TE), silent, send)
    assert (len(application.scopes), host.ended) == (3, 3)


async def test_envoy_listens_when_the_service_is_there() -> None:
    """Its start is held back until the transport starts, which is after the store was opened."""
    sent: list[Message] = []
    shutdown = asyncio.Event()
    events = [asyncio.Event(), shutdown]
    events[0].set()

    async def receive() -> Message:
        await events.pop(0).wait()
        return {}

    async def send(message: Message) -> None:
        sent.append(message)

    began = asyncio.Event()

    async def main(_: Host) -> None:
        began.set()

    host = Host(main)
    living = asyncio.ensure_future(host({"type": "lifespan"}, receive, send))
    await began.wait()
    assert sent == []
    host.configured.set()
    shutdown.set()
    await living
    assert sent == [{"type": "lifespan.startup.complete"}]
    assert host.gone.is_set()


@pytest.mark.parametrize(
    ("error", "told"), [(asyncio.InvalidStateError(), False), (ValueError(), True)]
)
async def test_only_late_answers_are_kept_quiet(error: Exception, *, told: bool) -> None:
    """What pyvoy tells a `receive` that nobody waits for; any other fault is logged."""
    seen: list[Message] = []
    loop = asyncio.new_event_loop()
    loop.default_exception_handler = seen.append  # type: ignore[method-assign,assignment]
    pyvoy._without_late_news(loop, {"exception": error})
    loop.close()
    assert bool(seen) is told
