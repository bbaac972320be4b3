"""A lease is held by whoever was told of it: a caller who never had the answer holds nothing."""

from __future__ import annotations

import asyncio
import random
import threading
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from ratelimitd._gen.envoy.service.ratelimit.v3.rls_pb2 import RateLimitResponse
from ratelimitd._gen.ratelimitd.v1 import limiter_pb2
from ratelimitd.rpc.ratelimit import RateLimitServicer
from ratelimitd.stores.memory.counters import MemoryCounters
from ratelimitd.stores.memory.leases import LeaseTable
from ratelimitd.transports.grpc_asgi import GrpcApplication
from tests.rpc.support.asgi import HEADERS, Exchange, framed, scope
from tests.rpc.support.calls import METHOD as RLS
from tests.rpc.support.calls import OK, one
from tests.rpc.support.counting import until
from tests.rpc.support.limiter_service import asks
from tests.rpc.support.serving import NOON, POLICY, TRANSPORTS, prepare, running
from tests.support.patience import WITHIN, next_turn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from ratelimitd.app import Service
    from tests.support.redis.server import Server

DECIDE = "/ratelimitd.v1.LimiterService/Decide"
MANY = POLICY.replace("concurrent: 2", "concurrent: 1000")
PATIENT = 10.0
"""Seconds that Redis may be silent: longer than any of these tests is."""
PARTS = ("http.response.start", "http.response.body", "http.response.trailers")


def asked(path: str) -> bytes:
    """Return a call that acquires a lease, as Envoy or as another service makes it."""
    if path == DECIDE:
        decide = limiter_pb2.DecideRequest(domain="test", api_key="k", asks=asks("concurrent"))
        return framed(decide.SerializeToString())
    return framed(one("api_key=k", "meter=concurrent").SerializeToString())


class Leaving(Exchange):
    """A caller who is gone when a part of the answer is to be sent."""

    def __init__(self, part: str, *parts: bytes) -> None:
        super().__init__(*parts)
        self._part = part

    async def send(self, message: Mapping[str, Any]) -> None:
        """ASGI's send."""
        if message["type"] == self._part:
            raise ConnectionResetError
        await super().send(message)


class Caller:
    """Who calls a limiter's methods through the adapter."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.application = GrpcApplication(service.handlers.paths())

    async def call(self, exchange: Exchange, path: str, **headers: str) -> None:
        """Make a call to its end."""
        more = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
        call = scope([*HEADERS, *more], path=path)
        await self.application(call, exchange.receive, exchange.send)

    async def is_granted(self, path: str = RLS) -> bool:
        """Ask for a lease, take the answer, and say whether it was granted."""
        exchange = Exchange(asked(path))
        await self.call(exchange, path)
        answer = RateLimitResponse.FromString(exchange.reply.body[5:])
        return answer.overall_code == OK

    def figure(self, name: str) -> int:
        """Return a number of the service's."""
        return int(self.service.reading().figures[name])

    def undelivered(self) -> int:
        """Return how many leases nobody took."""
        counts = self.service.telemetry.counts
        return sum(counts["leases_undelivered", name] for name in ("ShouldRateLimit", "Decide"))


@pytest.fixture
async def caller(tmp_path: Path) -> AsyncIterator[Caller]:
    """A caller of a limiter that counts in memory and grants two leases at a time."""
    service = prepare("h2corn", tmp_path)
    await service.prepare()
    yield Caller(service)
    await service.stop()


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("path", [RLS, DECIDE])
async def test_a_lease_whose_answer_cannot_be_sent_is_given_back(
    caller: Caller, path: str, part: str
) -> None:
    """Whichever part of the answer it was; it is counted, and those who have theirs keep them."""
    assert await caller.is_granted()
    await caller.call(Leaving(part, asked(path)), path)
    assert caller.undelivered() == 1
    await until(caller.is_granted, "what nobody was told of is held no longer")
    assert not await caller.is_granted()


@pytest.mark.parametrize("path", [RLS, DECIDE])
async def test_a_lease_whose_answer_was_sent_is_held(caller: Caller, path: str) -> None:
    """The twin: nothing is given back that somebody has been told of."""
    for _ in range(2):
        await caller.call(Exchange(asked(path)), path)
    assert caller.undelivered() == 0
    assert not await caller.is_granted()


async def test_a_denied_call_has_nothing_to_give_back(caller: Caller) -> None:
    """Nobody else's lease goes with an answer that was not taken."""
    assert await caller.is_granted()
    assert await caller.is_granted()
    await caller.call(Leaving(PARTS[0], asked(RLS)), RLS)
    assert caller.undelivered() == 0
    assert not await caller.is_granted()


TELLS = {"h2corn": True, "grpcio": False}
"""Which transports tell of an answer that was not taken because its caller had just left."""


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_transport_tells_or_not_that_an_answer_was_not_taken(
    transport: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over a real connection: the deadline passes between the decision and its answer.

    grpcio takes an answer for sent: such a lease is held until it ends. The others may do so once
    or twice, where the answer is faster than the news that nobody waits for it.
    """
    decide, left = RateLimitServicer.answer, threading.Event()

    async def late(self: Any, request: Any, context: Any) -> Any:  # noqa: ANN401 - the servicer's
        answer = await decide(self, request, context)
        left.wait(WITHIN)  # nothing else of the limiter's runs meanwhile
        return answer

    monkeypatch.setattr(RateLimitServicer, "answer", late)
    async with running(transport, tmp_path, MANY) as service:
        caller = Caller(service)
        for granted in range(1, 20):
            left.clear()
            await asyncio.to_thread(_leave, service.addresses["grpc"][0], left)
            counts = service.telemetry.counts
            await until(lambda: counts["decisions", "allowed"] == granted, "it")  # noqa: B023
            if granted >= 3 and (caller.undelivered() or not TELLS[transport]):
                break
        assert bool(caller.undelivered()) is TELLS[transport]
        kept = granted - caller.undelivered()
        await until(lambda: at_rest(service) == kept, f"{kept} are held")


def at_rest(service: Service) -> int:
    """Return how many leases the memory store holds."""
    counters = service.limiter._counters
    assert isinstance(counters, MemoryCounters)
    (table,) = counters.tables.values()
    assert isinstance(table, LeaseTable)
    (held,) = table._states.young.values()
    return held.count(NOON)[0]


def _leave(address: str, left: threading.Event) -> None:
    """Wait for an answer for a fifth of a second."""
    with grpc.insecure_channel(address) as channel:
        ask: Any = channel.unary_unary(RLS)
        with pytest.raises(grpc.RpcError):
            ask(asked(RLS)[5:], timeout=0.2)
    left.set()


@pytest.fixture
async def fleet(tmp_path: Path, own_server: Server) -> AsyncIterator[Caller]:
    """A caller of a limiter that counts in a Redis of its own, and waits long for it."""
    service = prepare("h2corn", tmp_path, MANY, store=own_server.url, store_timeout=PATIENT)
    await service.prepare()
    yield Caller(service)
    await service.stop()


def held(server: Server) -> int:
    """Return how many leases Redis holds."""
    with server.client() as client:
        return sum(client.zcard(key) for key in client.scan_iter("rl1:*", _type="zset"))


@pytest.mark.parametrize("ends", ["goes away", "its deadline passes"])
async def test_a_caller_who_waits_no_longer_for_redis_holds_nothing(
    fleet: Caller, own_server: Server, ends: str
) -> None:
    """Redis grants what was sent before, and is told at once that nobody was told."""
    await fleet.call(Exchange(asked(RLS)), RLS)
    own_server.pause()
    exchange = Exchange(asked(RLS))
    timeout = {"grpc_timeout": "60m"} if ends == "its deadline passes" else {}
    call = asyncio.ensure_future(fleet.call(exchange, RLS, **timeout))
    while fleet.figure("store_batched_total") < 2:
        await next_turn()
    if not timeout:
        exchange.leave()
    await call
    own_server.resume()
    assert exchange.reply.grpc == (4 if timeout else None)
    await until(lambda: fleet.figure("store_replayed_total") == 1, "the release")
    assert held(own_server) == 1


async def test_as_many_are_held_as_callers_were_told_of(fleet: Caller, own_server: Server) -> None:
    """Hundreds of callers of whom half go away at any moment, also between two parts."""
    generator = random.Random(5)
    exchanges = [Exchange(asked(RLS)) for _ in range(300)]

    async def one(exchange: Exchange) -> None:
        call = asyncio.ensure_future(fleet.call(exchange, RLS))
        for _ in range(generator.randrange(1, 40)):
            await next_turn()
        if generator.random() < 0.5:
            call.cancel()
        await asyncio.wait([call])

    await asyncio.gather(*(one(exchange) for exchange in exchanges))
    told = sum(len(exchange.sent) == len(PARTS) for exchange in exchanges)
    assert 0 < told < len(exchanges)
    await until(lambda: held(own_server) == told, f"{told} callers know of a lease")
