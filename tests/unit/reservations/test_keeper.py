"""Who grants reservations: exactly one of settlement and expiry, bounds, and a store that fails."""

from __future__ import annotations

import asyncio
from collections import Counter as Tally
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from ratelimitd.clock import SystemClock
from ratelimitd.errors import InvalidFieldsError, ReservationOverError, StoreUnavailableError
from ratelimitd.meters import Meter, MeterKind, OnExpiry
from ratelimitd.model import Kind, Question
from ratelimitd.reservations import keeper
from ratelimitd.reservations.keeper import Reservations, Ticket
from tests.rpc.support.counting import until
from tests.support.ops import MINUTE, fixed
from tests.support.policies import HASHER, Service, describe, with_tier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratelimitd.clock import Clock
    from ratelimitd.model import Op
    from ratelimitd.stores.memory.counters import MemoryCounters
    from ratelimitd.stores.ports import Taken

HELD = Meter(
    name="requests",
    kind=MeterKind.PREPAID,
    reservation_us=10 * MINUTE,
    on_expiry=OnExpiry.RELEASE,
)


class Flaky:
    """Counters that fail while told to."""

    def __init__(self, counters: MemoryCounters) -> None:
        self._counters = counters
        self.away = False

    async def take(
        self, ops: Sequence[Op], request_id: bytes = b"", remember_us: int = 0, lease: str = ""
    ) -> Taken:
        """Fail, or hand on."""
        if self.away:
            raise StoreUnavailableError("away")
        return await self._counters.take(ops, request_id, remember_us, lease)

    async def close(self) -> None:
        """Nothing of its own."""


class Bench:
    """A limiter of 10 requests an hour, which are given back when their reservation expires."""

    def __init__(self, most: int = 50, clock: Clock | None = None) -> None:
        self.service = Service(with_tier(fixed(10, meter=HELD)))
        self.counts: Tally[tuple[str, str]] = Tally()
        self.store = Flaky(self.service.counters)
        self._ids = iter(range(1_000))
        self.tickets: list[Ticket] = []
        self.keeper = Reservations(
            *(self.store, clock or self.service.clock, HASHER),
            new_id=lambda: next(self._ids).to_bytes(16, "big"),
            counts=self.counts,
            most=most,
        )

    async def reserve(self, hits: int = 1) -> str:
        """Reserve some requests of the key `a`."""
        descriptor = replace(describe("api_key=a"), hits=hits, kind=Kind.CHARGE)
        question = Question("agent-api", (descriptor,))
        decided = await self.service.limiter.decide(question)
        assert decided.allowed
        ticket = self.keeper.grant(decided)
        assert isinstance(ticket, Ticket)
        self.tickets.append(ticket)
        return ticket.text

    async def granted(self, hits: int) -> Ticket:
        """Reserve, and return all that was granted."""
        await self.reserve(hits)
        return self.tickets[-1]

    async def settle(self, ticket: str, actual: int) -> bool:
        """Settle; say whether that had been done before."""
        said = {"requests": actual}
        taken, _ = await self.keeper.settle(self.keeper.read(ticket, said), said)
        return taken.repeated

    def used(self) -> int:
        """What the key `a` has used."""
        standing = self.service.say("api_key=a", hits=0).statuses[0].standing
        assert standing is not None
        return standing.after

    def advance(self, microseconds: int) -> None:
        """Let time pass."""
        self.service.clock.advance(microseconds)


@pytest.fixture
def bench() -> Bench:
    """A fresh limiter."""
    return Bench()


async def test_a_settlement_elsewhere_and_the_expiry_here_never_both_happen(bench: Bench) -> None:
    """Another process settles in the last moment; this one knows nothing of it, and the id does."""
    ticket = await bench.reserve(3)
    other = Reservations(*(bench.store, bench.service.clock, HASHER), new_id=bytes, counts=Tally())
    bench.advance(10 * MINUTE - 1)
    said = {"requests": 5}
    await other.settle(other.read(ticket, said), said)
    bench.advance(MINUTE)
    await bench.keeper.give_back_due()
    assert bench.used() == 5
    assert bench.counts["reservations", "settled_elsewhere"] == 1


async def test_what_was_given_back_cannot_be_settled(bench: Bench) -> None:
    """Also by a process whose clock says that there is still time."""
    ticket = await bench.reserve(3)
    reservation = bench.keeper.read(ticket, {})
    bench.advance(11 * MINUTE)
    await bench.keeper.give_back_due()
    taken, _ = await bench.keeper.settle(reservation, {"requests": 9})
    assert (taken.repeated, bench.used()) == (True, 0)
    with pytest.raises(ReservationOverError):
        bench.keeper.read(ticket, {})


async def test_what_is_settled_is_no_longer_timed(bench: Bench) -> None:
    """Nothing is kept of it, and nothing is asked of the store at its expiry."""
    ticket = await bench.reserve(3)
    assert len(bench.keeper) == 1
    assert not await bench.settle(ticket, 1)
    assert await bench.settle(ticket, 2)
    assert len(bench.keeper) == 0
    assert bench.used() == 1


async def test_an_estimate_whose_answer_nobody_took_is_given_back_at_once(bench: Bench) -> None:
    """Nobody can settle it; whoever could after all is told that it was."""
    ticket = await bench.granted(3)
    bench.keeper.abandon(ticket)
    await bench.keeper.give_back_due()
    assert bench.used() == 0
    assert await bench.settle(ticket.text, 5)
    assert len(bench.keeper) == 0


async def test_so_many_are_timed_and_no_more() -> None:
    """Those beyond stay charged, and are counted."""
    bench = Bench(most=2)
    for _ in range(3):
        await bench.reserve()
    bench.advance(11 * MINUTE)
    await bench.keeper.give_back_due()
    assert bench.used() == 1
    assert bench.counts["reservations", "not_given_back"] == 1


async def test_the_heap_is_as_bounded_as_what_it_orders(bench: Bench) -> None:
    """However many come and are settled, no more than a few remain of them."""
    for _ in range(500):
        await bench.settle(await bench.reserve(), 0)
    assert len(bench.keeper._order) < 200


async def test_giving_back_waits_for_the_store(bench: Bench) -> None:
    """It is tried again until the patience is over; a settlement's id is remembered for longer."""
    await bench.reserve(3)
    bench.advance(11 * MINUTE)
    bench.store.away = True
    await bench.keeper.give_back_due()
    bench.store.away = False
    assert bench.used() == 3
    bench.advance(keeper.AGAIN_US)
    await bench.keeper.give_back_due()
    assert bench.used() == 0


async def test_patience_ends(bench: Bench) -> None:
    """A store that is away for long keeps the estimate, and it is counted."""
    await bench.reserve(3)
    bench.advance(10 * MINUTE + keeper.PATIENCE_US)
    bench.store.away = True
    await bench.keeper.give_back_due()
    assert len(bench.keeper) == 0
    assert bench.counts["reservations", "not_given_back"] == 1


async def test_a_settlement_that_the_store_did_not_answer_can_be_repeated(bench: Bench) -> None:
    """Its error says that nobody knows; the same ticket settles when the store is back."""
    ticket = await bench.reserve(3)
    bench.store.away = True
    with pytest.raises(StoreUnavailableError):
        await bench.settle(ticket, 1)
    bench.store.away = False
    assert not await bench.settle(ticket, 1)
    assert bench.used() == 1


async def test_the_timer_gives_back_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """In real time, and none is left over when the keeper is closed."""
    monkeypatch.setattr(keeper, "LATER_US", 0)
    before, clock = asyncio.all_tasks(), SystemClock()
    bench = Bench(clock=clock)
    await bench.reserve(3)
    timed = next(iter(bench.keeper._timed.values()))
    bench.keeper._put(timed, clock() + 1_000)
    await until(lambda: bench.used() == 0, "the estimate is given back")
    await bench.reserve(2)
    await bench.keeper.close()
    assert asyncio.all_tasks() == before


async def test_meters_that_were_not_reserved_are_a_mistake(bench: Bench) -> None:
    """They would have no counter to go to."""
    ticket = await bench.reserve()
    with pytest.raises(InvalidFieldsError, match="no such meter"):
        bench.keeper.read(ticket, {"tokens": 1})
