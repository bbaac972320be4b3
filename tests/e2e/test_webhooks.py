"""Webhooks over real connections: what is sent, and what counts as an answer."""

import asyncio
import contextlib
import socket
import ssl
import tempfile
import threading
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ratelimitd.accounts.addresses import Destination
from ratelimitd.accounts.alerts import Alert, AlertType
from ratelimitd.accounts.delivery import COUNTED, Courier, PostError, Route
from ratelimitd.accounts.outbox import Message
from ratelimitd.accounts.sqlite_outbox import SqliteOutbox
from ratelimitd.clock import SystemClock
from ratelimitd.http.webhooks import Names, Poster
from ratelimitd.model import Subject
from tests.e2e.support.waiting import wait_until
from tests.support.certificates import Authority

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ANNA = Subject(b"a" * 16)
MANY = 200


@contextlib.asynccontextmanager
async def receiver(
    answer: bytes, heads: list[str], tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Answer each request alike, noting its head; yield the port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError):
            heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(answer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("status", [200, 302, 500])
async def test_only_the_first_line_of_an_answer_counts(status: int) -> None:
    """A redirect is an answer like any other; the name stays in the Host header."""
    heads: list[str] = []
    answer = b"HTTP/1.1 %d X\r\nlocation: http://127.0.0.1:1/\r\n\r\n" % status
    async with receiver(b"HTTP/1.1 103 Early\r\nlink: a\r\n\r\n" + answer, heads) as port:

        async def here(host: str, port: int) -> list[str]:
            return ["127.0.0.1"]

        poster = Poster(allow_private=True, resolve=here)
        to = Destination(False, "hooks.example", port, "/a?b")
        assert await poster(to, {"webhook-id": "msg_1"}, b"{}") == status
    (head,) = heads
    assert head.startswith("POST /a?b HTTP/1.1\r\n")
    assert f"host: hooks.example:{port}\r\n" in head


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0\r\n", b"HTTP/1.1 99 X\r\n", b"x" * 100_000])
async def test_what_is_no_answer_is_a_failed_attempt(answer: bytes) -> None:
    """Nor is more than a line of it kept."""
    async with receiver(answer, []) as port:
        poster = Poster(allow_private=True)
        with pytest.raises(PostError, match="unreachable"):
            await poster(Destination(False, "127.0.0.1", port, "/"), {}, b"{}")


async def test_a_name_whose_servers_never_answer_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each post ends in time; so many lookups hang, and others are answered once they end."""
    hangs = threading.Event()

    def look_up(host: str, *rest: object, **more: object) -> list[Any]:
        if host == "hangs.example":
            hangs.wait()
        return [(2, 1, 6, "", ("127.0.0.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    names = Names(most=3)
    try:
        poster = Poster(allow_private=True, resolve=names, within=0.1)
        for why in ("timeout", "timeout", "timeout", "unreachable"):
            with pytest.raises(PostError, match=why):
                await poster(Destination(False, "hangs.example", 1, "/"), {}, b"{}")
    finally:
        hangs.set()

    async def answers() -> bool:
        with contextlib.suppress(OSError):
            return await names("good.example", 1) == ["127.0.0.1"]
        return False

    await wait_until(answers, description="the lookups have ended")


async def test_a_machine_without_threads_is_a_failed_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And costs none of the lookups of later."""

    def none_left(thread: threading.Thread) -> None:
        msg = "can't start new thread"
        raise RuntimeError(msg)

    names = Names(most=1)
    poster = Poster(allow_private=True, resolve=names)
    to = Destination(False, "localhost", 1, "/")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none_left)
        with pytest.raises(PostError, match="unreachable"):
            await poster(to, {}, b"{}")
    assert set(await names("localhost", 1)) <= {"127.0.0.1", "::1"}


@pytest.mark.parametrize(("issued", "is_trusted"), [("hooks.example", True), ("a.example", False)])
async def test_a_certificate_is_that_of_the_name(issued: str, is_trusted: bool) -> None:
    """Though the connection goes to an address that was checked."""
    authority = Authority()
    identity = authority.issue(issued)
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    client.load_verify_locations(cadata=authority.cert.decode())
    with tempfile.NamedTemporaryFile() as pem:
        pem.write(identity.key + identity.cert)
        pem.flush()
        server.load_cert_chain(pem.name)
    heads: list[str] = []

    async def here(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    async with receiver(b"HTTP/1.1 204 X\r\n\r\n", heads, server) as port:
        poster = Poster(allow_private=True, resolve=here, tls=client)
        to = Destination(True, "hooks.example", port, "/")
        if is_trusted:
            assert await poster(to, {}, b"{}") == 204
        else:
            with pytest.raises(PostError, match="tls"):
                await poster(to, {}, b"{}")
    assert len(heads) == is_trusted


async def test_each_message_is_delivered_once() -> None:
    """Many at once, over few connections at a time; then the outbox is empty."""
    heads: list[str] = []
    outbox, clock = SqliteOutbox(), SystemClock()
    await outbox.start()
    alert = Alert(
        id="alert_1",
        subject=ANNA,
        type=AlertType.RATE_LIMIT,
        limit="",
        threshold=80,
        created=clock(),
        sealed=b"",
    )
    await outbox.put(alert, 20)
    for number in range(MANY):
        message = Message(f"msg_{number}", ANNA, alert.id, "{}", clock())
        await outbox.add(message, clock() + 3_600_000_000)
    async with receiver(b"HTTP/1.1 204 X\r\n\r\n", heads) as port:
        route = Route(Destination(False, "127.0.0.1", port, "/"), SECRET)
        counts = Counter[tuple[str, str]]()
        poster = Poster(allow_private=True)
        courier = Courier(outbox, poster, lambda _: route, clock, counts=counts)
        courier.start()

        async def is_empty() -> bool:
            return await outbox.waiting() == 0

        await wait_until(is_empty, description="all of them", within=60)
        await courier.close()
    assert counts == {(COUNTED, "delivered"): MANY}
    ids = [line for head in heads for line in head.split("\r\n") if line.startswith("webhook-id")]
    assert sorted(ids) == sorted(f"webhook-id: msg_{number}" for number in range(MANY))
    await outbox.close()
