"""The customers' door: what is settled of a request before anything looks at what it wants.

Owns from which address a request comes and how many may come from it, how much of a body is read,
and that whatever goes wrong behind it is answered and logged without what was sent.
"""

from __future__ import annotations

import asyncio
import ipaddress
from typing import TYPE_CHECKING, Any, Final

from ratelimitd.http import problems
from ratelimitd.http.problems import ProblemError
from ratelimitd.telemetry import log_failure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from ratelimitd.accounts.reads import ReadLimit
    from ratelimitd.settings import Network

LARGEST_BODY: Final = 8 << 10
"""Bytes of a request's body."""
SLOWEST_BODY: Final = 10.0
"""Seconds in which all of it has to come."""
PROBES: Final = frozenset({"/healthz", "/readyz"})
"""Never limited: an orchestrator asks as often as it likes."""
_FORWARDED = b"x-forwarded-for"


class Door:
    """An ASGI application of two: probes, which nothing holds up, and the customers' API."""

    def __init__(
        self, probes: ASGIApp, api: ASGIApp, reads: ReadLimit, trusted: Sequence[Network] = ()
    ) -> None:
        """Believe what `trusted` networks say of whom they speak for, beside this machine."""
        self._probes = probes
        self._api = api
        self._reads = reads
        self._trusted = trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._probes(scope, receive, send)
            return
        try:
            await self._admit(scope, receive, send)
        except ProblemError as error:
            await problems.answer(error)(scope, receive, send)
        except Exception as error:  # noqa: BLE001 - answered by the API already; told here, once
            log_failure(error, "a request failed")

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        wait = await self._reads.of_address(address_of(scope, self._trusted))
        if wait:
            raise problems.wait(wait)
        try:
            async with asyncio.timeout(SLOWEST_BODY):
                body = await read_body(scope, receive)
        except TimeoutError:
            raise ProblemError(408) from None
        if body is None:
            return  # the client has gone
        unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return unread.pop() if unread else await receive()

        await self._api(scope, replay, send)


def address_of(scope: Scope, trusted: Sequence[Network] = ()) -> str:
    """Return whose request this is: the peer's address; empty for an unknown one (a unix socket).

    Where the peer is on this machine or trusted (Envoy, or another proxy), the last address of
    X-Forwarded-For is meant: the one that this proxy wrote. What stands before it a client may have
    made up.
    """
    client: Any = scope.get("client") or ("",)
    peer = str(client[0])
    if peer and not _is_proxy(peer, trusted):
        return peer
    last = b",".join(_values(scope, _FORWARDED)).rpartition(b",")[2]
    forwarded = last.strip(b" \t").decode("latin-1")
    return forwarded if _address(forwarded) is not None else peer


async def read_body(scope: Scope, receive: Receive) -> bytes | None:
    """Return a request's body; None if the client went away. Raises `ProblemError` (413)."""
    told = b"".join(_values(scope, b"content-length"))
    if told.isdigit() and (len(told) > len(str(LARGEST_BODY)) or int(told) > LARGEST_BODY):
        raise ProblemError(413)
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += bytes(message.get("body", b""))
        if len(body) > LARGEST_BODY:
            raise ProblemError(413)
        if not message.get("more_body", False):
            return body


def _values(scope: Scope, name: bytes) -> Iterator[bytes]:
    return (value for key, value in scope["headers"] if key == name)


def _is_proxy(peer: str, trusted: Sequence[Network]) -> bool:
    """Say whether a peer speaks for others."""
    address = _address(peer)
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    return address is not None and (
        address.is_loopback or any(address in network for network in trusted)
    )


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
