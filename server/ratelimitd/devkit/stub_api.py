"""An agent API that answers at once, and misbehaves when it is asked to: what Envoy guards.

    POST /v1/agents/{id}/invoke     one answer, with `usage`: input, output and total tokens
    POST /v1/agents/{id}/stream     server-sent events; the last but one carries the usage
    POST /v1/agents/{id}/batch      `{"inputs": [...]}`: an answer for each
    GET  /health

Query parameters of any of them tell it how to misbehave, which no real API would take from
outside:

    sleep=S             wait so many seconds first
    status=N            fail, from 400 on
    reset=1             begin to answer, and cut the connection
    tokens=N output=N   the tokens used, and how many of them the answer is
    usage=none|each     say nothing of them; or say in each event what it took so far
    events=N gap=S      how many events, and seconds between them
    pad=N               so many more bytes in an answer
    limit_headers=1     send every header of the limiter's, as an API with one of its own does

JSON is compressed for whoever accepts gzip.

It checks no key: whom Envoy lets through is served. `Arrivals` counts what came.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import gzip
import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import h2corn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

TOKENS: Final = 42
OUTPUT: Final = 12
EVENTS: Final = 3
MAX_EVENTS: Final = 10_000
MAX_SLEEP: Final = 600.0
MAX_BODY: Final = 1 << 20
MAX_PAD: Final = 16 << 20
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


class _CutError(Exception):
    """Expected: it was told to break its answer off, and the server closes the connection."""


def create_app(arrivals: Arrivals | None = None) -> Starlette:
    """The stub as an ASGI application; `arrivals` is counted up as requests come."""
    seen = Arrivals() if arrivals is None else arrivals

    async def invoke(request: Request) -> Response:
        misbehaviour = await _arrive(request, seen)
        answer = {"agent": request.path_params["agent"], "output": "done"}
        return misbehaviour or _json(request, answer | _usage(request))

    async def batch(request: Request) -> Response:
        misbehaviour = await _arrive(request, seen)
        if misbehaviour is not None:
            return misbehaviour
        inputs = await _inputs(request)
        if inputs is None:
            return _json(request, {"error": 'send {"inputs": [...]}'}, status=400)
        results = [{"index": index, "output": "done"} for index in range(len(inputs))]
        return _json(request, {"results": results} | _usage(request, len(inputs)))

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
        # Starlette raises the former when a client leaves before the end of a stream: no fault
        # here. What has begun and does not go on is cut off by the server.
        with contextlib.suppress(ClientDisconnect, _CutError):
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
    if request.query_params.get("reset") == "1":
        return StreamingResponse(_cut(), media_type="application/json")
    return None


async def _cut() -> AsyncIterator[str]:
    yield '{"output": "do'
    raise _CutError


async def _events(request: Request) -> AsyncIterator[str]:
    gap = _number(request, "gap", 0, MAX_SLEEP)
    events = int(_number(request, "events", EVENTS, MAX_EVENTS))
    for index in range(events):
        await asyncio.sleep(gap)
        event: dict[str, object] = {"delta": f"word {index}"}
        if request.query_params.get("usage") == "each":
            event["usage"] = {"total_tokens": _total(request) * (index + 1) // (events + 1)}
        yield _event(event)
    if usage := _usage(request):
        yield _event(usage)
    yield "data: [DONE]\n\n"


def _event(content: object) -> str:
    return f"data: {json.dumps(content)}\n\n"


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


def _usage(request: Request, answers: int = 1) -> dict[str, object]:
    """What an answer says of its tokens, as a part of it; nothing where it is told to say none."""
    if request.query_params.get("usage") == "none":
        return {}
    total = _total(request)
    output = min(total, int(_number(request, "output", OUTPUT, 1e9)))
    counts = {"input_tokens": total - output, "output_tokens": output, "total_tokens": total}
    return {"usage": {name: count * answers for name, count in counts.items()}}


def _total(request: Request) -> int:
    return int(_number(request, "tokens", TOKENS, 1e9))


def _json(request: Request, content: dict[str, object], status: int = 200) -> Response:
    headers = _limit_headers(request)
    if pad := int(_number(request, "pad", 0, MAX_PAD)):
        content = {"pad": "x" * pad} | content
    body = json.dumps(content).encode()
    if "gzip" in request.headers.get("accept-encoding", ""):
        body, headers = gzip.compress(body), headers | {"content-encoding": "gzip"}
    return Response(body, status_code=status, headers=headers, media_type="application/json")


def _limit_headers(request: Request) -> dict[str, str]:
    return LIMIT_HEADERS if request.query_params.get("limit_headers") == "1" else {}


def _number(request: Request, name: str, default: float, largest: float) -> float:
    """A query parameter; what is no number from 0 to `largest` counts as not given."""
    try:
        value = float(request.query_params.get(name, default))
    except ValueError:
        return default
    return value if 0 <= value <= largest else default
