"""Envoy's RateLimitService: convert, decide, convert.

The same servicer serves every transport and `grpcio-testing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from ratelimitd._gen.envoy.service.ratelimit.v3 import rls_pb2_grpc
from ratelimitd._gen.envoy.service.ratelimit.v3.rls_pb2 import RateLimitResponse
from ratelimitd.errors import InvalidRequestError, RateLimitdError
from ratelimitd.rpc import status
from ratelimitd.rpc.questions import Questions
from ratelimitd.rpc.responses import Responses
from ratelimitd.rpc.undelivered import Ending, Undelivered

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc

    from ratelimitd._gen.envoy.service.ratelimit.v3.rls_pb2 import RateLimitRequest
    from ratelimitd.limiter import Limiter
    from ratelimitd.model import Question
    from ratelimitd.telemetry import Telemetry

_ALLOWED = ("decisions", "allowed")
_DENIED = ("decisions", "denied")
SERVICE = "envoy.service.ratelimit.v3.RateLimitService"


class Context(Ending, Protocol):
    """What servicers ask of their call, whichever the transport; the rest only with a lease."""

    async def abort(self, code: grpc.StatusCode, details: str = "") -> NoReturn:
        """End the call with a status."""
        ...


class Registrar(Protocol):
    """What methods are registered with (`transports.handlers.Handlers`)."""

    def parse_with(self, service: str, method: str, parse: Callable[[bytes], Any]) -> None:
        """Read a method's requests by other means than its message's own parser."""
        ...

    def answer_with(self, service: str, method: str, behavior: Callable[[Any, Any], Any]) -> None:
        """Answer a method by what returns the bytes of its responses, and no messages."""
        ...


class RateLimitServicer(rls_pb2_grpc.RateLimitServiceServicer):
    """Answers `ShouldRateLimit` from a limiter."""

    def __init__(self, limiter: Limiter, telemetry: Telemetry) -> None:
        self._limiter = limiter
        self._counts = telemetry.counts
        self._undelivered = Undelivered(limiter, telemetry.counts, "ShouldRateLimit")
        self._responses = Responses()
        self.read = Questions().read
        """A request's bytes to the question it asks: what transports parse requests with."""

    async def answer(self, question: Question | None, context: Context) -> bytes:
        """Decide one call; errors end it with the status that `rpc.status` gives them.

        What transports serve: from what `read` makes of a request to the response's bytes.
        """
        try:
            if question is None:
                msg = "the bytes are no RateLimitRequest"
                raise InvalidRequestError(msg)
            decision = await self._limiter.decide(question)
        except RateLimitdError as error:
            await status.abort(context, error)
        self._counts[_ALLOWED if decision.allowed else _DENIED] += 1
        if decision.lease:
            self._undelivered.watch(context, decision)
        return self._responses.of(decision)

    async def ShouldRateLimit(
        self, request: RateLimitRequest, context: Context
    ) -> RateLimitResponse:
        """Do the same from message to message, for those who call the servicer themselves."""
        question = self.read(request.SerializeToString())
        return RateLimitResponse.FromString(await self.answer(question, context))


def register(handlers: Registrar, limiter: Limiter, telemetry: Telemetry) -> None:
    """Serve the RateLimitService from a limiter."""
    servicer = RateLimitServicer(limiter, telemetry)
    rls_pb2_grpc.add_RateLimitServiceServicer_to_server(servicer, handlers)
    handlers.parse_with(SERVICE, "ShouldRateLimit", servicer.read)
    handlers.answer_with(SERVICE, "ShouldRateLimit", servicer.answer)
