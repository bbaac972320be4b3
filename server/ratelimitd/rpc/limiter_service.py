"""LimiterService: the limiter for services that ask by themselves. Convert, decide, convert.

The same use case as Envoy's, and the same servicer on every transport. What a request means is
`asking`'s, how an answer looks is `telling`'s, how an error does is `rich`'s.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ratelimitd._gen.ratelimitd.v1 import limiter_pb2, limiter_pb2_grpc
from ratelimitd.model import Kind
from ratelimitd.rpc import asking, telling
from ratelimitd.rpc.answering import answered, parse_with
from ratelimitd.rpc.undelivered import Undelivered

if TYPE_CHECKING:
    from ratelimitd._gen.ratelimitd.v1.limiter_pb2 import (
        DecideRequest,
        DecideResponse,
        ReleaseRequest,
        ReleaseResponse,
        RenewRequest,
        RenewResponse,
        ReserveRequest,
        ReserveResponse,
        SettleRequest,
        SettleResponse,
    )
    from ratelimitd.decision import Decision
    from ratelimitd.limiter import Limiter
    from ratelimitd.reservations.keeper import Reservations, Ticket
    from ratelimitd.rpc.ratelimit import Registrar
    from ratelimitd.rpc.rich import Context
    from ratelimitd.rpc.undelivered import Ending
    from ratelimitd.telemetry import Telemetry

SERVICE = "ratelimitd.v1.LimiterService"

_OUTCOMES = (limiter_pb2.OUTCOME_SETTLED, limiter_pb2.OUTCOME_ALREADY_SETTLED)


class LimiterServicer(limiter_pb2_grpc.LimiterServiceServicer):
    """Answers services from a limiter."""

    def __init__(self, limiter: Limiter, reservations: Reservations, telemetry: Telemetry) -> None:
        self._limiter = limiter
        self._reservations = reservations
        self._counts = telemetry.counts
        self._undelivered = Undelivered(limiter, telemetry.counts, "Decide")
        self._questions = asking.Questions()

    async def Decide(self, request: bytes | DecideRequest, context: Context) -> DecideResponse:
        """Decide some asks together. Transports hand over the bytes, others may the message."""
        return await answered(partial(self._decide, context), request, context)

    async def Release(self, request: ReleaseRequest | None, context: Context) -> ReleaseResponse:
        """Give a lease back."""
        return await answered(self._release, request, context)

    async def Renew(self, request: RenewRequest | None, context: Context) -> RenewResponse:
        """Keep a lease."""
        return await answered(self._renew, request, context)

    async def Reserve(self, request: ReserveRequest | None, context: Context) -> ReserveResponse:
        """Charge an estimate."""
        return await answered(partial(self._reserve, context), request, context)

    async def Settle(self, request: SettleRequest | None, context: Context) -> SettleResponse:
        """Put the real amount in an estimate's place."""
        return await answered(self._settle, request, context)

    async def _decide(self, context: Context, request: bytes | DecideRequest) -> DecideResponse:
        wire = request if isinstance(request, bytes) else request.SerializeToString()
        question = self._questions.read(wire, self._limiter.matchers)
        decided = await self._limiter.decide(question)
        self._count(decided)
        answer = limiter_pb2.DecideResponse(decision=telling.decision(decided))
        if decided.lease:
            acquired = [op for op in decided.ops if op.kind == Kind.ACQUIRE]
            self._undelivered.watch(context, decided)
            answer.lease.CopyFrom(telling.lease(decided.lease, acquired, decided.now))
        return answer

    async def _release(self, request: ReleaseRequest) -> ReleaseResponse:
        question = asking.lease(request, Kind.RELEASE, self._limiter.matchers)
        if question is None:
            return limiter_pb2.ReleaseResponse()
        released = await self._limiter.release(question)
        return limiter_pb2.ReleaseResponse(released=released)

    async def _renew(self, request: RenewRequest) -> RenewResponse:
        question = asking.lease(request, Kind.RENEW, self._limiter.matchers)
        if question is None:
            return limiter_pb2.RenewResponse()
        decided = await self._limiter.decide(question)
        pairs = zip(decided.ops, decided.every, strict=False)  # no standings where none were asked
        held = [op for op, standing in pairs if standing.passes]
        if not held:
            return limiter_pb2.RenewResponse()
        kept = telling.lease(request.lease_id, held, decided.now)
        return limiter_pb2.RenewResponse(renewed=True, lease=kept)

    async def _reserve(self, context: Context, request: ReserveRequest) -> ReserveResponse:
        question = asking.reserve(request, self._limiter.matchers)
        decided = await self._limiter.decide(question)
        self._count(decided)
        answer = limiter_pb2.ReserveResponse(decision=telling.decision(decided))
        ticket = self._reservations.grant(decided) if decided.allowed else None
        if ticket is not None:
            context.add_done_callback(partial(self._ended, ticket))
            answer.reservation.CopyFrom(telling.reservation(ticket))
        return answer

    def _ended(self, ticket: Ticket, call: Ending) -> None:
        """Give back an estimate whose answer nobody took."""
        if call.cancelled():
            self._reservations.abandon(ticket)

    async def _settle(self, request: SettleRequest) -> SettleResponse:
        actual = asking.actual(request)
        reservation = self._reservations.read(request.reservation_id, actual)
        taken, ops = await self._reservations.settle(reservation, actual)
        return limiter_pb2.SettleResponse(
            outcome=_OUTCOMES[taken.repeated],
            limits=telling.limits(ops, taken.standings, taken.now),
        )

    def _count(self, decided: Decision) -> None:
        self._counts["decisions", "allowed" if decided.allowed else "denied"] += 1


def register(handlers: Registrar, servicer: LimiterServicer) -> None:
    """Serve the LimiterService."""
    limiter_pb2_grpc.add_LimiterServiceServicer_to_server(servicer, handlers)
    parse_with(handlers, limiter_pb2, "LimiterService")
    handlers.parse_with(SERVICE, "Decide", bytes)  # the questions it asks are remembered by them
