"""A Starlette application on a real HTTP server, limited in a few lines and without an Envoy."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, NamedTuple

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from ratelimitd.client import AsyncLimiter
from ratelimitd.client.asgi import USED, RateLimitMiddleware
from ratelimitd.transports.h2corn import H2corn, hide_banner, http_config
from tests.e2e.support.client_limiter import DOMAIN, PATIENCE, comes_to, limiter_of, new_key
from tests.e2e.support.raw_http import begin

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.requests import Request


class Answer(NamedTuple):
    """An HTTP response."""

    status: int
    headers: dict[str, str]
    body: bytes


class Api:
    """The application, its address, and a client of its limiter."""

    def __init__(self, limiter: AsyncLimiter) -> None:
        self.limiter = limiter
        self.go_on = asyncio.Event()
        self.address = ""
        routes = [
            Route("/invoke", self.invoke, methods=["POST"]),
            Route("/stream", self.stream, methods=["POST"]),
            Route("/health", self.health, methods=["POST"]),
        ]
        self.app = Starlette(routes=routes)
        self.app.add_middleware(RateLimitMiddleware, limiter=limiter, exempt=["/health"])

    async def invoke(self, request: Request) -> PlainTextResponse:
        """Answer at once, and say what it took."""
        request.scope[USED]["tokens"] = 60
        return PlainTextResponse("done")

    async def stream(self, request: Request) -> StreamingResponse:
        """Begin to answer, and end when told to."""

        async def parts() -> AsyncIterator[bytes]:
            yield b"first "
            await self.go_on.wait()
            yield b"last"

        return StreamingResponse(parts())

    async def health(self, request: Request) -> PlainTextResponse:
        """Say that it is well."""
        return PlainTextResponse("ok")

    async def begin(self, path: str, key: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Send a request."""
        headers = (f"authorization: Bearer {key}", "connection: close")
        return await begin(self.address, path, *headers)

    async def post(self, path: str, key: str) -> Answer:
        """Send a request, and read the whole response."""
        reader, writer = await self.begin(path, key)
        async with asyncio.timeout(PATIENCE):
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        status, *lines = head.decode().split("\r\n")
        pairs = (line.split(": ", 1) for line in lines)
        return Answer(int(status.split()[1]), {n.lower(): v for n, v in pairs}, body)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where a limiter serves."""
    with limiter_of("memory") as where:
        yield where


@pytest.fixture
async def api(address: str) -> AsyncIterator[Api]:
    """The application on a real server."""
    hide_banner()
    async with AsyncLimiter(address, domain=DOMAIN, deadline=PATIENCE) as limiter:
        api = Api(limiter)
        server = H2corn(api.app, http_config("127.0.0.1:0"))
        (api.address,) = await server.start()
        try:
            yield api
        finally:
            await server.stop(grace=0)


async def test_responses_carry_the_headers_and_tokens_are_counted(api: Api) -> None:
    """Until they are used up; then the promised 429."""
    key = new_key()
    first = await api.post("/invoke", key)
    assert (first.status, first.body) == (200, b"done")
    assert first.headers["x-ratelimit-remaining"] == "4"
    await comes_to(api.limiter, key, "tokens", 60)
    await api.post("/invoke", key)
    await comes_to(api.limiter, key, "tokens", 120)
    denied = await api.post("/invoke", key)
    assert denied.status == 429
    assert json.loads(denied.body)["error"]["code"] == "RATE_LIMIT_EXCEEDED"
    assert int(denied.headers["retry-after"]) > 0
    assert (await api.post("/health", key)).status == 200


@pytest.mark.parametrize("end", ["well", "client goes away"])
async def test_a_stream_holds_its_lease_until_it_ends(api: Api, end: str) -> None:
    """Two streams and no third; a client who goes away frees its place when that is noticed.

    Starlette notices when it sends the next part.
    """
    key = new_key()
    streams = [await api.begin("/stream", key) for _ in range(2)]
    await comes_to(api.limiter, key, "concurrent", 2)
    assert (await api.post("/stream", key)).status == 429
    if end == "well":
        api.go_on.set()
        for reader, _ in streams:
            async with asyncio.timeout(PATIENCE):
                assert b"last" in await reader.read()
    for _, writer in streams:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    api.go_on.set()
    await comes_to(api.limiter, key, "concurrent", 0)
