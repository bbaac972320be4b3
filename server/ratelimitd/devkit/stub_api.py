"""An agent API that answers at once, and misbehaves when it is asked to: what Envoy guards.

    POST /v1/agents/{id}/invoke     one answer, with `usage.total_tokens`
    POST /v1/agents/{id}/stream     server-sent events; the last but one carries the usage
    POST /v1/agents/{id}/batch      `{"inputs": [...]}`: an answer for each
    GET  /health

Query parameters of any of them tell it how to misbehave, which no real API would take from
outside: `sleep` (seconds), `status`, `tokens`, `events` and `gap` (seconds between events), and
`limit_headers=1`: send every header of the limiter's, as an API does that has one of its own.

It checks no key: whom Envoy lets through is served. `Arrivals` counts what came.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import h2corn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

TOKENS: Final = 42
EVENTS: Final = 3
MAX_EVENTS: Final = 10_000
MAX_SLEEP: Final = 600.0
MAX_BODY: Final = 1 << 20
MAX_HEADER: Final = 128 << 10
"""What Envoy lets through must not fail here: envoy.yaml allows 96 KiB of headers."""

LIMIT_HEADERS: Final = {
    "X-RateLimit-Limit": "7",
    "X-RateLimit-Remaining": "6",
    "X-RateLimit-Reset": "1",
    "X-RateLimit-Reset-After": "5",
    "RateLimit": '"upstream";r=6;t=5',
    "RateLimit-Policy": '"upstream";q=7;w=60',
    "Retry-After": "5",
}
"""Every name that the limiter may send, with values that it never would."""

Arrivals = collections.Counter[str]
"""How many requests came for each path."""


def create_app(arrivals: Arrivals | None = None) -> Starlette:
    """The stub as an ASGI application; `arrivals` is counted up as requests come."""
    seen = Arrivals() if arrivals is None else arrivals

    async def invoke(request: Request) -> Response:
        misbehaviour = await _arrive(request, seen)
        answer = {"agent": request.path_params["agent"], "output": "done"}
        return misbehaviour or _json(request, answer | {"usage": _usage(request)})

    async def batch(request: Request) -> Response:
        misbehaviour = await _arrive(request, seen)
        if misbehaviour is not None:
            return misbehaviour
        inputs = await _inputs(request)
        if inputs is None:
            return _json(request, {"error": 'send {"inputs": [...]}'}, status=400)
        results = [{"index": index, "output": "done"} for index in range(len(inputs))]
        return _json(request, {"results": results, "usage": _usage(request, len(inputs))})

    async def stream(request: Request) -> Response:
        misbehaviour = await _arrive(request, seen)
        headers = _limit_headers(request)
        return misbehaviour or StreamingResponse(
            _events(request), media_type="text/event-stream", headers=headers
        )

    async def health(request: Request) -> Response:
        return await _arrive(request, seen) or _json(request, {"status": "ok"})

    return Starlette(
        routes=[
            Route("/v1/agents/{agent}/invoke", invoke, methods=["POST"]),
            Route("/v1/agents/{agent}/stream", stream, methods=["POST"]),
            Route("/v1/agents/{agent}/batch", batch, methods=["POST"]),
            Route("/health", health, methods=["GET"]),
        ]
    )


@contextlib.asynccontextmanager
async def serve_stub_api(
    bind: str = "127.0.0.1:0", arrivals: Arrivals | None = None
) -> AsyncIterator[str]:
    """Serve the stub in this process; the value is its address, HOST:PORT."""
    config = h2corn.Config(
        bind=(bind,),
        access_log=False,
        lifespan="off",
        limit_request_field_size=MAX_HEADER,
        # One pool for the whole process, whose size the first server settles: the limiter's is 1.
        runtime_threads=1,
        timeout_graceful_shutdown=1.0,
    )
    app = create_app(arrivals)

    async def forgiving(scope: Scope, receive: Receive, send: Send) -> None:
        # Starlette raises this when a client leaves before the end of a stream: no fault here.
        with contextlib.suppress(ClientDisconnect):
            await app(scope, receive, send)

    server = h2corn.Server(forgiving, config)
    serving = asyncio.create_task(server.serve())
    try:
        await server.wait_started()
        yield server.addresses[0]
    finally:
        server.shutdown()
        await serving


async def _arrive(request: Request, arrivals: Arrivals) -> Response | None:
    """Count the request, wait as told, and fail as told (None: go on)."""
    arrivals[request.url.path] += 1
    await asyncio.sleep(_number(request, "sleep", 0, MAX_SLEEP))
    status = int(_number(request, "status", 200, 599))
    if status >= HTTPStatus.BAD_REQUEST:
        return _json(request, {"error": f"told to answer {status}"}, status=status)
    return None


async def _events(request: Request) -> AsyncIterator[str]:
    gap = _number(request, "gap", 0, MAX_SLEEP)
    for index in range(int(_number(request, "events", EVENTS, MAX_EVENTS))):
        await asyncio.sleep(gap)
        yield f"data: {json.dumps({'delta': f'word {index}'})}\n\n"
    yield f"data: {json.dumps({'usage': _usage(request)})}\n\n"
    yield "data: [DONE]\n\n"


async def _inputs(request: Request) -> list[object] | None:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            return None
    try:
        inputs = json.loads(body)["inputs"]
    except (ValueError, KeyError, TypeError):
        return None
    return inputs if isinstance(inputs, list) else None


def _usage(request: Request, answers: int = 1) -> dict[str, int]:
    return {"total_tokens": int(_number(request, "tokens", TOKENS, 1e9)) * answers}


def _json(request: Request, content: object, status: int = 200) -> Response:
    return JSONResponse(content, status_code=status, headers=_limit_headers(request))


def _limit_headers(request: Request) -> dict[str, str]:
    return LIMIT_HEADERS if request.query_params.get("limit_headers") == "1" else {}


def _number(request: Request, name: str, default: float, largest: float) -> float:
    """A query parameter; what is no number from 0 to `largest` counts as not given."""
    try:
        value = float(request.query_params.get(name, default))
    except ValueError:
        return default
    return value if 0 <= value <= largest else default
