"""Limits an ASGI application that has no Envoy before it, in a few lines.

Each HTTP request (and WebSocket) is decided before the application sees it: one request, one lease
for as long as the response takes, and whether tokens are left. A denial is answered here, as the
customers were promised; what is allowed carries the promised headers. What the application says it
has used is reported when it has ended. Knows ASGI and no framework.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ratelimitd.client.errors import LimiterError
from ratelimitd.client.values import Ask

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping

    from ratelimitd.client.aio import AsyncLimiter
    from ratelimitd.client.values import Decision

    Message = MutableMapping[str, Any]
    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    App = Callable[[Scope, Receive, Send], Awaitable[None]]

ASKED = ("requests", "concurrent", "tokens")
"""What a request asks for: to be counted, to be held, and whether tokens are left."""
USED = "ratelimitd.used"
"""Where in its scope an application says what it used: meter to amount."""

_LOG = logging.getLogger(__name__)
_LIMITED = ("http", "websocket")
_TOO_MANY = 429
_POLICY_VIOLATION = 1008


def key_of(scope: Scope) -> str | None:
    """Return the API key of a request: `Authorization: Bearer KEY`, else `x-api-key`.

    None where there is none: also for what is more than one word behind the scheme, of another
    scheme, or no text.
    """
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.lower(), value)
    try:
        words = headers.get(b"authorization", b"").decode().split()
        plain = headers.get(b"x-api-key", b"").decode().strip()
    except UnicodeDecodeError:
        return None
    if len(words) == 2 and words[0].lower() == "bearer":  # noqa: PLR2004 - the scheme and the key
        return words[1]
    return plain or None if not words else None


def entries_of(scope: Scope) -> dict[str, str]:
    """Return what a policy may look at: the path, the method, and where the request comes from."""
    entries = {"path": scope["path"], "method": scope.get("method", "GET")}
    client = scope.get("client")
    if client:
        entries["remote_address"] = client[0]
    return entries


class RateLimitMiddleware:
    """Stands before an ASGI application."""

    def __init__(
        self,
        app: App,
        limiter: AsyncLimiter,
        *,
        asks: Iterable[Ask | str] = ASKED,
        exempt: Iterable[str] = (),
        key: Callable[[Scope], str | None] = key_of,
        entries: Callable[[Scope], Mapping[str, str]] = entries_of,
    ) -> None:
        """Limit `app` by `limiter`.

        `exempt`: paths that are never asked about; with a `*` at its end, all that begin so. `key`
        and `entries` read a request's scope.
        """
        self._app = app
        self._limiter = limiter
        self._asks = tuple(asks)
        paths = tuple(exempt)
        self._exempt = frozenset(path for path in paths if not path.endswith("*"))
        self._beginnings = tuple(path[:-1] for path in paths if path.endswith("*"))
        self._key = key
        self._entries = entries

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or let the application do it."""
        if scope["type"] not in _LIMITED or self._is_exempt(scope["path"]):
            await self._app(scope, receive, send)
            return
        key, entries = self._key(scope), self._entries(scope)
        held = self._limiter.lease(key, *self._asks, entries=entries)
        decision = await held.acquire()
        if not decision.allowed:
            await _deny(scope, decision, send)
            return
        used: dict[str, int] = {}
        scope = {**scope, USED: used}
        try:
            await self._app(scope, receive, _telling(decision, send))
        finally:
            if held.id:
                self._limiter.detach(held.release())
            asks = [Ask(meter, amount) for meter, amount in used.items() if amount > 0]
            if asks:
                self._limiter.detach(self._report(key, asks, entries))

    def _is_exempt(self, path: str) -> bool:
        return path in self._exempt or path.startswith(self._beginnings)

    async def _report(
        self, key: str | None, asks: Iterable[Ask], entries: Mapping[str, str]
    ) -> None:
        try:
            decision = await self._limiter.decide(key, *asks, entries=entries)
        except LimiterError as error:
            _LOG.error("what a request used was not reported: %s", error)
            return
        if decision.away:
            _LOG.error("what a request used was not reported: the limiter is away")


def _headers(decision: Decision) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in decision.headers]


def _telling(decision: Decision, send: Send) -> Send:
    """Return what sends the application's response with our headers in the place of its own."""
    ours = _headers(decision)
    names = {name for name, _ in ours}

    async def tell(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.accept"):
            theirs = [each for each in message.get("headers", ()) if each[0].lower() not in names]
            message = {**message, "headers": [*theirs, *ours]}
        await send(message)

    return tell


async def _deny(scope: Scope, decision: Decision, send: Send) -> None:
    """Answer as customers were promised; a WebSocket is refused before it opens."""
    if scope["type"] == "websocket":
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
            return
        kind = "websocket.http.response"
    else:
        kind = "http.response"
    body = decision.body.encode()
    headers = [*_headers(decision), (b"content-length", b"%d" % len(body))]
    await send({"type": f"{kind}.start", "status": _TOO_MANY, "headers": headers})
    await send({"type": f"{kind}.body", "body": body})
