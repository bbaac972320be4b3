"""The ASGI middleware around small applications, with a real limiter behind it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from ratelimitd.client import Ask, AsyncLimiter
from ratelimitd.client.asgi import USED, RateLimitMiddleware, key_of
from tests.e2e.support.client_limiter import DOMAIN, aused, comes_to, nowhere

START: dict[str, Any] = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/plain"), (b"X-RateLimit-Limit", b"mine")],
}
BODY = {"type": "http.response.body", "body": b"hello"}


async def hello(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI's own
    """The smallest application."""
    await send(START)
    await send(BODY)


def scope_of(key: str, path: str = "/v1/agents", kind: str = "http", **more: Any) -> dict[str, Any]:  # noqa: ANN401 - ASGI's own
    """Return a request's scope."""
    headers = [(b"authorization", f"Bearer {key}".encode())] if key else []
    scope = {"type": kind, "method": "POST", "path": path, "headers": headers}
    return {**scope, "client": ("192.0.2.7", 1234), **more}


async def request(app: Any, scope: dict[str, Any]) -> list[dict[str, Any]]:  # noqa: ANN401 - an application
    """Send a request; return the messages of the response."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


async def test_what_is_allowed_carries_the_promised_headers(
    limiter: AsyncLimiter, key: str
) -> None:
    """In the place of the application's own of those names; the rest stays as it was."""
    start, body = await request(RateLimitMiddleware(hello, limiter), scope_of(key))
    assert (start["status"], body) == (200, BODY)
    headers = dict(start["headers"])
    assert headers[b"content-type"] == b"text/plain"
    assert headers[b"x-ratelimit-limit"] == b"5"
    assert headers[b"x-ratelimit-remaining"] == b"4"
    assert b"X-RateLimit-Limit" not in headers


async def test_what_is_denied_is_answered_as_promised(limiter: AsyncLimiter, key: str) -> None:
    """429 with its body and its headers; the application sees nothing of it."""
    await limiter.decide(key, Ask("requests", 5))

    async def never(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI's own
        raise AssertionError

    start, body = await request(RateLimitMiddleware(never, limiter), scope_of(key))
    headers = dict(start["headers"])
    assert start["status"] == 429
    assert int(headers[b"retry-after"]) > 0
    assert headers[b"content-type"] == b"application/json"
    assert int(headers[b"content-length"]) == len(body["body"])
    error = json.loads(body["body"])["error"]
    assert (error["code"], error["details"]["limit"]) == ("RATE_LIMIT_EXCEEDED", 5)


@pytest.mark.parametrize("end", ["well", "exception", "cancelled"])
async def test_a_lease_is_held_while_the_response_takes(
    limiter: AsyncLimiter, key: str, end: str
) -> None:
    """From before the application until it has ended, however it ends."""
    inside, go = asyncio.Event(), asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI's own
        inside.set()
        await go.wait()
        if end == "exception":
            raise RuntimeError
        await hello(scope, receive, send)

    task = asyncio.ensure_future(request(RateLimitMiddleware(slow, limiter), scope_of(key)))
    await inside.wait()
    assert await aused(limiter, key, "concurrent") == 1
    if end == "cancelled":
        task.cancel()
    go.set()
    await asyncio.wait((task,))
    await comes_to(limiter, key, "concurrent", 0)
    if not task.cancelled():
        assert isinstance(task.exception(), RuntimeError if end == "exception" else type(None))


async def test_tokens_are_reported_when_the_application_says_how_many(
    limiter: AsyncLimiter, key: str
) -> None:
    """After the response; once they are used up, the next request is denied before it runs."""

    async def model(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI's own
        await hello(scope, receive, send)
        scope[USED]["tokens"] = 120

    app = RateLimitMiddleware(model, limiter)
    assert (await request(app, scope_of(key)))[0]["status"] == 200
    await comes_to(limiter, key, "tokens", 120)
    assert (await request(app, scope_of(key)))[0]["status"] == 429


async def test_exempt_paths_are_never_asked_about(address: str, key: str) -> None:
    """Not even while the limiter is away; a `*` at the end stands for all that begin so."""
    async with AsyncLimiter(nowhere(), domain=DOMAIN) as away:
        app = RateLimitMiddleware(hello, away, exempt=("/health", "/static/*"))
        for path in ("/health", "/static/a.css"):
            assert (await request(app, scope_of(key, path)))[0] == START
    async with AsyncLimiter(nowhere(), domain=DOMAIN, when_away="deny") as away:
        app = RateLimitMiddleware(hello, away, exempt=("/health",))
        assert (await request(app, scope_of(key, "/healthy")))[0]["status"] == 429


async def test_a_websocket_is_refused_before_it_opens(limiter: AsyncLimiter, key: str) -> None:
    """With the promised response where the server can send one."""
    await limiter.decide(key, Ask("requests", 5))
    app = RateLimitMiddleware(hello, limiter)
    (closed,) = await request(app, scope_of(key, kind="websocket"))
    assert closed["type"] == "websocket.close"
    extensions: dict[str, Any] = {"websocket.http.response": {}}
    start, _ = await request(app, scope_of(key, kind="websocket", extensions=extensions))
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 429)


async def test_without_a_key_the_policy_says_what_becomes_of_a_request(
    limiter: AsyncLimiter,
) -> None:
    """Here its tier has no requests at all; the lifespan is nobody's request."""
    app = RateLimitMiddleware(hello, limiter)
    assert (await request(app, scope_of("")))[0]["status"] == 429
    assert (await request(app, {"type": "lifespan"}))[0] == START


KEYS = {
    "bearer": ([(b"authorization", b"Bearer k")], "k"),
    "any case": ([(b"Authorization", b"bearer  k ")], "k"),
    "x-api-key": ([(b"x-api-key", b" k ")], "k"),
    "both": ([(b"x-api-key", b"x"), (b"authorization", b"Bearer k")], "k"),
    "another scheme": ([(b"authorization", b"Basic k")], None),
    "two words": ([(b"authorization", b"Bearer k l")], None),
    "the first counts": ([(b"x-api-key", b"k"), (b"x-api-key", b"l")], "k"),
    "no text": ([(b"authorization", b"Bearer \xff")], None),
    "nothing": ([], None),
    "empty": ([(b"authorization", b""), (b"x-api-key", b"")], None),
}


@pytest.mark.parametrize(("headers", "wanted"), KEYS.values(), ids=KEYS)
def test_a_key_is_found_where_customers_send_it(
    headers: list[tuple[bytes, bytes]], wanted: str | None
) -> None:
    """As the limiter itself reads an Authorization value."""
    assert key_of({"headers": headers}) == wanted
