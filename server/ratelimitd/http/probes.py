"""The HTTP listener of customers and orchestrators: liveness and readiness for now.

Knows nothing of limits; asks the process whether it is ready.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request


def application(is_ready: Callable[[], bool]) -> Starlette:
    """Serve `/healthz` (the process runs) and `/readyz` (it wants calls; 503 while it does not)."""

    async def healthz(request: Request) -> PlainTextResponse:
        del request
        return PlainTextResponse("ok\n")

    async def readyz(request: Request) -> PlainTextResponse:
        del request
        if is_ready():
            return PlainTextResponse("ready\n")
        return PlainTextResponse("not ready\n", status_code=503)

    return Starlette(routes=[Route("/healthz", healthz), Route("/readyz", readyz)])
