"""The Redis store: counts that a fleet shares, exact, one round trip for all that waits.

Owns how one call becomes one or several decisions of the script, and what is done where one is
stale, finds no place, or spans servers. What a batch is: `batcher`; on the wire: `wire`; who
answers: `servers` (`link`, `cluster`); what is done in its absence: `ratelimitd.failure`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from redis.crc import key_slot

from ratelimitd.clock import steady_ns
from ratelimitd.errors import StoreUnavailableError
from ratelimitd.memo import Memo
from ratelimitd.model import Kind
from ratelimitd.stores.memory.counters import DEFAULT_ROOM
from ratelimitd.stores.ports import Taken, leased, make_taken
from ratelimitd.stores.redis import holding
from ratelimitd.stores.redis.compensation import Owed
from ratelimitd.stores.redis.fleet import Fleet
from ratelimitd.stores.redis.over_limit import OverLimit
from ratelimitd.stores.redis.redis_clock import RedisClock
from ratelimitd.stores.redis.script import Script
from ratelimitd.stores.redis.spelling import BUCKETS, Layout
from ratelimitd.stores.redis.wire import (
    CROWDED,
    NOT_ONCE,
    PASSED,
    REPEATED,
    STALE,
    Once,
    crowded_out,
    pack,
    read,
)
from ratelimitd.stores.stacking import stacked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ratelimitd.model import Counter, Op, Standing
    from ratelimitd.stores.ports import Holding
    from ratelimitd.stores.redis.batcher import Verdict
    from ratelimitd.stores.redis.servers import Servers
    from ratelimitd.stores.redis.wire import Package

PACKAGES = 16_384
"""Calls whose package is kept, per generation of the cache."""
TRIES = 4
"""How often one decision is sent: once more where it was stale, and where newcomers found no place
(of which one call can hold several, who compete with others for what is left)."""


class _Part(NamedTuple):
    """What of a call is decided on one server."""

    slot: int
    indexes: Sequence[int]
    """Which of the call's operations."""
    ops: Sequence[Op]
    package: Package


class _Known(NamedTuple):
    """A call that came before, as it is sent while `since` <= now < `until`."""

    ops: Sequence[Op]
    parts: tuple[_Part, ...]
    since: int
    until: int


class RedisCounters:
    """`stores.ports.Store` on Redis or Valkey."""

    def __init__(
        self,
        servers: Servers,
        *,
        room: int = DEFAULT_ROOM,
        buckets: int = BUCKETS,
        clock: RedisClock | None = None,
        script: Script | None = None,
    ) -> None:
        """Count on `servers`, which `start` opens. `clock` and `script`: tests bring their own."""
        self._layout = Layout(buckets, together=servers.are_several)
        self.clock = clock or RedisClock(steady_ns)
        if servers.are_several:
            room = room // buckets  # as many as there are buckets, each with its share
        self._fleet = Fleet(servers, script or Script.load(), self.clock, room)
        self._slots = [key_slot(b"%x" % bucket) for bucket in range(buckets)]
        self._memo: Memo[int, _Known] = Memo(PACKAGES)
        self._over_limit = OverLimit()
        self._owed = Owed(self._give_back)
        self.stale = self.crowded = self.spanning = 0

    async def start(self) -> None:
        """Connect, and learn the servers' clock. Raises `StoreUnavailableError`."""
        await self._fleet.start()

    async def take(
        self, ops: Sequence[Op], request_id: bytes = b"", remember_us: int = 0, lease: str = ""
    ) -> Taken:
        """See `Counters.take`. On several servers a call may be decided in parts."""
        now = self.clock()
        if not ops:
            return make_taken((now, True, (), False))
        once = Once(request_id, remember_us) if request_id else NOT_ONCE
        parts = self._leased(ops, now, once, lease) if lease else self._parts(ops, now, once)
        if len(parts) == 1:
            slot, _, ops, package = parts[0]
            told = None if request_id else self._over_limit.answer(ops, package, now)
            if told is not None:
                return make_taken((now, False, told, False))
            return await self._decide(slot, ops, package, once)
        self.spanning += 1
        whole = asyncio.ensure_future(self._span(parts, len(ops), once))
        whole.add_done_callback(_heard)
        return await asyncio.shield(whole)

    async def held(self, counter: Counter, most: int) -> Holding:
        """See `Store.held`. Both questions travel together."""
        slot = self._slot(counter)
        key, now = self._layout.spell(counter, None), self.clock()
        asked = holding.count_of(key, now), holding.first_of(key, now, most)
        return holding.read(*await asyncio.gather(*(self._fleet.ask(slot, each) for each in asked)))

    def _slot(self, counter: Counter) -> int:
        """Return where a counter stands; 0 where one server is all."""
        return self._slots[self._layout.bucket(counter)] if self._layout.together else 0

    def _leased(self, ops: Sequence[Op], now: int, once: Once, lease: str) -> tuple[_Part, ...]:
        """Return what to send for a call that acquires: what is kept, with its own lease."""
        if not once.request_id:
            made = self._parts(ops, now, once)
            if len(made) == 1 and made[0].package.acquires:
                slot, indexes, _, package = made[0]
                return (_Part(slot, indexes, leased(ops, lease), package.of_lease(lease)),)
        return self._parts(leased(ops, lease), now, once)

    def _parts(self, ops: Sequence[Op], now: int, once: Once) -> tuple[_Part, ...]:
        """Return what to send; what carries no id of one call's is kept for when it comes again."""
        known = self._memo.get(id(ops)) or self._memo.recall(id(ops))
        if known and known.ops is ops and known.since <= now < known.until and not once.request_id:
            return known.parts
        parts = tuple(self._cut(ops, now, once))
        if isinstance(ops, tuple) and not once.request_id:  # a list was made for one call
            since = max(part.package.since for part in parts)
            until = min(part.package.until for part in parts)
            # It keeps `ops`, so that its id stays its own.
            self._memo.put(id(ops), _Known(ops, parts, since, until))
        return parts

    def _cut(self, ops: Sequence[Op], now: int, once: Once) -> Iterator[_Part]:
        """Yield the parts of a call: one where one server is all, else one for each slot."""
        slots: dict[int, list[int]] = {}
        for index, op in enumerate(ops):
            slots.setdefault(self._slot(op.counter), []).append(index)
        for slot, own in slots.items():
            share = ops if len(slots) == 1 else stacked([ops[index] for index in own])
            yield _Part(slot, own, share, pack(share, now, self._layout, once))

    async def _decide(self, slot: int, ops: Sequence[Op], package: Package, once: Once) -> Taken:
        """Have a decision that lies on one server, and send it again where it must be."""
        for _ in range(TRIES):
            verdict = await self._fleet.submit(slot, package)
            if verdict.status == STALE:
                self.stale += 1
                package = pack(ops, verdict.now, self._layout, once)
            elif verdict.status % REPEATED == CROWDED:
                self.crowded += 1
                return await self._crowd(slot, ops, package, verdict, once)
            else:
                return self._read(ops, package, verdict)
        msg = "Redis's clock and this process's do not agree on the window"
        raise StoreUnavailableError(msg)

    def _read(self, ops: Sequence[Op], package: Package, verdict: Verdict) -> Taken:
        now, status, numbers = verdict
        passed = status % REPEATED == PASSED
        if not passed:
            self._over_limit.learn(ops, package, numbers, now)
        self._over_limit.forget(ops, passed=passed)
        standings = read(ops, package, numbers, now, passed=passed)
        return make_taken((now, passed, standings, status >= REPEATED))

    async def _crowd(
        self, slot: int, ops: Sequence[Op], package: Package, verdict: Verdict, once: Once
    ) -> Taken:
        """Put newcomers that found no place on the counter that they share, and decide again.

        What the call told has been counted where it had a place, so it is not told again.
        """
        out = crowded_out(ops, package, verdict.numbers)
        told = {
            index: standing
            for index, standing in enumerate(
                read(ops, package, verdict.numbers, verdict.now, passed=False)
            )
            if ops[index].kind > Kind.PEEK and index not in out
        }
        rest = [index for index in range(len(ops)) if index not in told]
        again = stacked(
            [
                ops[index]._replace(counter=self._layout.overflow(ops[index].counter))
                if index in out
                else ops[index]
                for index in rest
            ]
        )
        once = once._replace(request_id=once.request_id + b"~") if once.request_id else once
        package = pack(again, verdict.now, self._layout, once)
        taken = await self._decide(slot, again, package, once)
        told |= dict(zip(rest, taken.standings, strict=True))
        whole = [told[index] for index in range(len(ops))]
        return taken._replace(standings=whole, repeated=verdict.status >= REPEATED)

    async def _span(self, parts: Sequence[_Part], count: int, once: Once) -> Taken:
        """Decide part by part, at once, and give back where another part denies.

        Never over a limit. Until what is given back has arrived, others may be denied early; if
        this process dies before, what one call charged stays charged until its windows turn.
        """
        outcomes = await asyncio.gather(
            *(self._decide(part.slot, part.ops, part.package, once) for part in parts),
            return_exceptions=True,
        )
        failure = next((each for each in outcomes if isinstance(each, BaseException)), None)
        passed = all(isinstance(each, Taken) and each.passed for each in outcomes)
        standings: dict[int, Standing] = {}
        for part, outcome in zip(parts, outcomes, strict=True):
            if not isinstance(outcome, Taken):
                continue
            if outcome.passed and not passed:
                outcome = self._owed.give_back(part.slot, part.ops, outcome)  # noqa: PLW2901 - as it is left
            standings |= dict(zip(part.indexes, outcome.standings, strict=True))
        if failure is not None:
            raise failure
        instant = max(each.now for each in outcomes if isinstance(each, Taken))
        repeated = all(isinstance(each, Taken) and each.repeated for each in outcomes)
        whole = [standings[index] for index in range(count)]
        return make_taken((instant, passed, whole, repeated))

    async def _give_back(self, slot: int, ops: Sequence[Op], now: int, identity: bytes) -> None:
        """Undo charges in the windows of `now`, once, however often this is tried."""
        package = pack(ops, now, self._layout, Once(identity), late=True)
        await self._fleet.submit(slot, package)
        self._over_limit.forget(ops, passed=False)

    def figures(self) -> dict[str, int]:
        """See `Store.figures`."""
        return {
            **self._fleet.figures(),
            "store_stale_total": self.stale,
            "store_overflow_total": self.crowded,
            "store_spanning_total": self.spanning,
            "store_owed": len(self._owed),
            "store_given_back_total": self._owed.given_back,
            "store_given_back_lost_total": self._owed.lost,
            "store_denied_without_asking_total": self._over_limit.answered,
            "store_clock_steps_total": self.clock.steps,
        }

    async def close(self) -> None:
        """Give back what is owed, if it can be, and let go of the servers."""
        await self._owed.close()
        await self._fleet.close()


def _heard(whole: asyncio.Future[Taken]) -> None:
    """Look at what became of a call that nobody may wait for any more, or asyncio complains."""
    if not whole.cancelled():
        whole.exception()
