"""Webhooks that would lead inside: a real listener there sees none of them.

Each URL is tried as a customer would write it, and its host once more past the check of URLs, so
that what is checked before connecting has to hold alone.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import pytest

from ratelimitd.accounts.addresses import Destination, read_url
from ratelimitd.accounts.delivery import PostError
from ratelimitd.http import webhooks
from ratelimitd.http.webhooks import Poster, Resolve

SECONDS = 2.0
"""For one post, where nothing answers."""
ENCODINGS = (
    *("127.0.0.1", "127.0.0.1.", "127.1", "127.0.1", "127.255.255.254", "0", "0.0.0.0", "00.0.0.0"),
    *("0177.0.0.1", "0177.0.0.01", "017700000001", "0x7f.1", "0x7f.0.0.1", "0x7f000001"),
    *("0X7F.0x0.0X0.0x1", "2130706433", "127.0.0.1%00", "%31%32%37.0.0.1", "127%2e0%2e0%2e1"),
    *("①②⑦.⓪.⓪.①", "127。0。0。1", "127．0．0．1", "１２７.0.0.1", "localhost", "LOCALHOST"),
    *("localhost.", "ⓛocalhost", "example.com@127.0.0.1", "127.0.0.1\\@example.com"),
    *("[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::1%25lo]", "[::ffff:127.0.0.1]"),
    *("[::ffff:7f00:1]", "[::ffff:7f00:0001]", "[0:0:0:0:0:ffff:127.0.0.1]", "[::127.0.0.1]"),
    *("[::7f00:1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]"),
    *("[2001:0:7f00:1::1]", "[fe80::1]", "[fec0::1]", "[fc00::1]", "[ff02::1]"),
)
INNER = (
    *("127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.0.1"),
    *("169.254.169.254", "100.64.0.1", "100.100.100.200", "224.0.0.1", "255.255.255.255"),
    *("192.0.2.1", "198.18.0.1", "240.0.0.1", "::1", "::", "fe80::1", "fd00:ec2::254"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1"),
    *("64:ff9b::7f00:1", "2002:7f00:1::", "2001:db8::1", "ff02::1", "fe80::1%lo", "127.1", ""),
)
TLS = ssl.create_default_context()
"""Made once: it takes longer than a case."""
REDIRECTS = (301, 302, 303, 307, 308)


class Inside:
    """A listener that nobody from outside should reach."""

    def __init__(self) -> None:
        self.port = 0
        self.seen = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Note a connection, and answer as if all were well."""
        self.seen += 1
        with contextlib.suppress(OSError):
            writer.write(b"HTTP/1.1 204 X\r\n\r\n")
            await writer.drain()
        writer.close()


@pytest.fixture
async def inside() -> AsyncIterator[Inside]:
    """A listener on IPv4's loopback, and on the same port of IPv6's where there is one."""
    there = Inside()
    async with contextlib.AsyncExitStack() as stack:
        server = await asyncio.start_server(there.serve, "127.0.0.1", 0)
        await stack.enter_async_context(server)
        there.port = server.sockets[0].getsockname()[1]
        with contextlib.suppress(OSError):
            six = await asyncio.start_server(there.serve, "::1", there.port)
            await stack.enter_async_context(six)
        yield there


def leading_to(*addresses: str) -> Resolve:
    """Return a resolver of an attacker's name."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        del host, port
        return addresses

    return resolve


def poster(**how: Any) -> Poster:  # noqa: ANN401 - the poster's own
    """Return the real one."""
    return Poster(tls=TLS, **how)


async def post(host: str, port: int, by: Poster) -> int:
    """Post past the check of URLs."""
    return await by(Destination(False, host, port, "/"), {"webhook-id": "msg_1"}, b"{}")


@pytest.mark.parametrize("host", ENCODINGS)
async def test_no_spelling_of_an_inner_address_is_connected_to(host: str, inside: Inside) -> None:
    """The URL is refused, and so is its host."""
    for scheme in ("https", "http"):
        url = f"{scheme}://{host}:{inside.port}/"
        with pytest.raises(ValueError, match="URL"):
            read_url(url, allow_private=False)
    bare = urlsplit(f"//{host}").hostname or host
    with pytest.raises(PostError, match=r"refused_address|unreachable"):
        await post(bare, inside.port, poster(within=SECONDS))
    assert inside.seen == 0


@pytest.mark.parametrize("inner", INNER)
async def test_no_name_that_leads_inside_is_connected_to(inner: str, inside: Inside) -> None:
    """Alone, before and behind a public address: one inner address is enough."""
    for addresses in ((inner,), (inner, "8.8.8.8"), ("8.8.8.8", inner)):
        with pytest.raises(PostError, match="refused_address"):
            await post("hooks.example", inside.port, poster(resolve=leading_to(*addresses)))
    assert inside.seen == 0


async def test_a_name_that_leads_elsewhere_a_moment_later_changes_nothing(inside: Inside) -> None:
    """It is asked once for a post, and what was checked is connected to."""
    answers = [["192.0.0.9"], ["127.0.0.1"]]  # public, and nobody is there

    async def rebinding(host: str, port: int) -> Sequence[str]:
        del host, port
        return answers.pop(0)

    with pytest.raises(PostError, match=r"unreachable|timeout"):
        await post("hooks.example", inside.port, poster(resolve=rebinding, within=0.3))
    assert answers == [["127.0.0.1"]]
    assert inside.seen == 0


@pytest.mark.parametrize("status", REDIRECTS)
@pytest.mark.parametrize("where", ["http://127.0.0.1:{port}/", "//127.0.0.1:{port}/", "/\\127.1"])
async def test_no_redirect_is_followed(status: int, where: str, inside: Inside) -> None:
    """Whichever, and wherever it leads: it is an answer like any other."""
    target = where.format(port=inside.port).encode()

    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 %d X\r\nlocation: %b\r\nrefresh: 0;url=%b\r\n\r\n"
        writer.write(head % (status, target, target))
        writer.close()

    async with await asyncio.start_server(redirect, "127.0.0.1", 0) as outside:
        port = outside.sockets[0].getsockname()[1]
        assert await post("127.0.0.1", port, poster(allow_private=True)) == status
    assert inside.seen == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "0x7f.1"])
async def test_the_listener_would_have_seen_them(host: str, inside: Inside) -> None:
    """Where the operator allows it, the same spellings do lead inside."""
    assert await post(host, inside.port, poster(allow_private=True)) == 204
    assert inside.seen == 1


async def test_a_check_that_trusts_everybody_would_be_found(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: nothing but the check of addresses stands between."""
    monkeypatch.setattr(webhooks, "is_public", lambda _: True)
    trusting = poster(resolve=leading_to("127.0.0.1"))
    assert await post("hooks.example", inside.port, trusting) == 204
    assert inside.seen == 1
