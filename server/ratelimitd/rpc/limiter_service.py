"""LimiterService: the limiter for services that ask by themselves. Convert, decide, convert.

The same use case as Envoy's, and the same servicer on every transport. What a request means is
`asking`'s, how an answer looks is `telling`'s, how an error does is `rich`'s.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf.message import DecodeError

from ratelimitd._gen.ratelimitd.v1 import limiter_pb2, limiter_pb2_grpc
from ratelimitd.errors import InvalidFieldsError, RateLimitdError
from ratelimitd.model import Kind
from ratelimitd.rpc import asking, rich, telling
from ratelimitd.rpc.undelivered import Undelivered

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from google.protobuf.message import Message

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
Q = TypeVar("Q")
A = TypeVar("A")


async def answered(answer: Callable[[Q], Awaitable[A]], request: Q | None, context: Context) -> A:
    """Answer, or end the call with the status and the details of what is wrong with it."""
    try:
        if request is None:
            raise InvalidFieldsError.of(asking.NO_REQUEST)
        return await answer(request)
    except RateLimitdError as error:
        await rich.abort(context, error)


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
        decided, ops = await self._limiter.decide_in_full(question)
        self._count(decided)
        answer = limiter_pb2.DecideResponse(decision=telling.decision(decided, ops))
        acquired = [op for op in ops if op.kind == Kind.ACQUIRE]
        if decided.lease and acquired:
            self._undelivered.watch(context, question, decided.lease)
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
        decided, ops = await self._limiter.decide_in_full(question)
        pairs = zip(ops, decided.every, strict=False)  # no standings where none were asked
        held = [op for op, standing in pairs if standing.passes]
        if not held:
            return limiter_pb2.RenewResponse()
        kept = telling.lease(request.lease_id, held, decided.now)
        return limiter_pb2.RenewResponse(renewed=True, lease=kept)

    async def _reserve(self, context: Context, request: ReserveRequest) -> ReserveResponse:
        question = asking.reserve(request, self._limiter.matchers)
        decided, ops = await self._limiter.decide_in_full(question)
        self._count(decided)
        answer = limiter_pb2.ReserveResponse(decision=telling.decision(decided, ops))
        ticket = self._reservations.grant(decided, ops) if decided.allowed else None
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


def parser(message: type[Message]) -> Callable[[bytes], Any]:
    """Return what reads a request: None where the bytes are none, which is the caller's fault."""

    def parse(wire: bytes) -> Message | None:
        try:
            return message.FromString(wire)
        except DecodeError:
            return None

    return parse


def register(handlers: Registrar, servicer: LimiterServicer) -> None:
    """Serve the LimiterService."""
    limiter_pb2_grpc.add_LimiterServiceServicer_to_server(servicer, handlers)
    for method in limiter_pb2.DESCRIPTOR.services_by_name["LimiterService"].methods:
        message = getattr(limiter_pb2, method.input_type.name)
        read: Callable[[bytes], Any] = bytes if method.name == "Decide" else parser(message)
        handlers.parse_with(SERVICE, method.name, read)
