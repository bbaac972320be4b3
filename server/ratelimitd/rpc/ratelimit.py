"""Envoy's RateLimitService: convert, decide, convert.

The same servicer serves every transport and `grpcio-testing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, Protocol

from ratelimitd._gen.envoy.service.ratelimit.v3 import rls_pb2_grpc
from ratelimitd.errors import InvalidRequestError, RateLimitdError
from ratelimitd.rpc import questions, status
from ratelimitd.rpc.questions import Questions
from ratelimitd.rpc.responses import Responses

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc

    from ratelimitd._gen.envoy.service.ratelimit.v3.rls_pb2 import RateLimitResponse
    from ratelimitd.limiter import Limiter
    from ratelimitd.telemetry import Telemetry

_ALLOWED = ("decisions", "allowed")
_DENIED = ("decisions", "denied")
SERVICE = "envoy.service.ratelimit.v3.RateLimitService"


class Context(Protocol):
    """The one thing that servicers ask of their call, whichever the transport."""

    async def abort(self, code: grpc.StatusCode, details: str = "") -> NoReturn:
        """End the call with a status."""
        ...


class Registrar(Protocol):
    """What methods are registered with (`transports.handlers.Handlers`)."""

    def parse_with(
        self, service: str, method: str, parse: Callable[[bytes], questions.Request]
    ) -> None:
        """Read a method's requests by other means than its message's own parser."""
        ...


class RateLimitServicer(rls_pb2_grpc.RateLimitServiceServicer):
    """Answers `ShouldRateLimit` from a limiter."""

    def __init__(self, limiter: Limiter, telemetry: Telemetry) -> None:
        self._limiter = limiter
        self._counts = telemetry.counts
        self._questions = Questions()
        self._responses = Responses()

    async def ShouldRateLimit(
        self, request: questions.Request, context: Context
    ) -> RateLimitResponse:
        """Decide one call; errors end it with the status that `rpc.status` gives them."""
        try:
            if request is None:
                msg = "the bytes are no RateLimitRequest"
                raise InvalidRequestError(msg)
            decision = await self._limiter.decide(self._questions.of(request))
        except RateLimitdError as error:
            await status.abort(context, error)
        self._counts[_ALLOWED if decision.allowed else _DENIED] += 1
        return self._responses.of(decision)


def register(handlers: Registrar, limiter: Limiter, telemetry: Telemetry) -> None:
    """Serve the RateLimitService from a limiter."""
    servicer = RateLimitServicer(limiter, telemetry)
    rls_pb2_grpc.add_RateLimitServiceServicer_to_server(servicer, handlers)
    handlers.parse_with(SERVICE, "ShouldRateLimit", questions.parse)
