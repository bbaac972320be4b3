"""The Redis store: counts that a fleet shares, exact, one round trip for all that waits.

Owns how one call becomes one or several decisions of the script, and what is done where one is
stale, finds no place, or spans servers. What a batch is: `batcher`; on the wire: `wire`; who
answers: `servers` (`link`, `cluster`); what is done in its absence: `ratelimitd.failure`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from redis.crc import key_slot

from ratelimitd.clock import steady_ns
from ratelimitd.errors import StoreUnavailableError
from ratelimitd.memo import Memo
from ratelimitd.model import Kind
from ratelimitd.stores.memory.counters import DEFAULT_ROOM
from ratelimitd.stores.ports import Taken, make_taken
from ratelimitd.stores.redis.compensation import Owed
from ratelimitd.stores.redis.fleet import Fleet
from ratelimitd.stores.redis.over_limit import OverLimit
from ratelimitd.stores.redis.redis_clock import RedisClock
from ratelimitd.stores.redis.script import Script
from ratelimitd.stores.redis.spelling import BUCKETS, Layout
from ratelimitd.stores.redis.wire import CROWDED, PASSED, STALE, crowded_out, pack, read
from ratelimitd.stores.stacking import stacked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratelimitd.model import Op, Standing
    from ratelimitd.stores.redis.batcher import Verdict
    from ratelimitd.stores.redis.servers import Servers
    from ratelimitd.stores.redis.wire import Package

PACKAGES = 16_384
"""Calls whose package is kept, per generation of the cache."""
TRIES = 4
"""How often one decision is sent: once more where it was stale, and where newcomers found no place
(of which one call can hold several, who compete with others for what is left)."""


class _Known:
    """A call that came before."""

    __slots__ = ("last", "ops", "package")

    def __init__(self, ops: Sequence[Op], package: Package) -> None:
        self.ops = ops
        self.package = package
        self.last: Taken | None = None


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

    async def take(self, ops: Sequence[Op], request_id: bytes = b"") -> Taken:
        """See `Counters.take`. On several servers a call may be decided in parts."""
        now = self.clock()
        if not ops:
            return make_taken((now, True, ()))
        known = self._known(ops, now, request_id)
        told = self._over_limit.answer(ops, known.package, now)
        if told is not None:
            return make_taken((now, False, told))
        parts = self._parts(ops)
        if len(parts) == 1:
            (slot,) = parts
            taken = await self._decide(slot, ops, known.package, request_id)
        else:
            self.spanning += 1
            whole = asyncio.ensure_future(self._span(parts, ops, request_id))
            whole.add_done_callback(_heard)
            taken = await asyncio.shield(whole)
        known.last = taken
        return taken

    def last_known(self, ops: Sequence[Op]) -> Taken | None:
        """Return what this process last saw of exactly this call, if it did."""
        known = self._memo.get(id(ops)) or self._memo.recall(id(ops))
        return known.last if known is not None and known.ops is ops else None

    def _known(self, ops: Sequence[Op], now: int, request_id: bytes) -> _Known:
        known = self._memo.get(id(ops)) or self._memo.recall(id(ops))
        if known is None or known.ops is not ops:
            known = _Known(ops, pack(ops, now, self._layout, request_id))
            if isinstance(ops, tuple):  # a list was made for one call, and never comes again
                self._memo.put(id(ops), known)  # which keeps `ops`, so that its id stays its own
        elif request_id or not known.package.since <= now < known.package.until:
            known.package = pack(ops, now, self._layout, request_id)
        return known

    def _parts(self, ops: Sequence[Op]) -> dict[int, list[int]]:
        """Return which operations (by index) go to which slot; one slot where one server is all."""
        if not self._layout.together:
            return {0: []}
        parts: dict[int, list[int]] = {}
        for index, op in enumerate(ops):
            slot = self._slots[self._layout.bucket(op.counter)]
            parts.setdefault(slot, []).append(index)
        return parts

    async def _decide(
        self, slot: int, ops: Sequence[Op], package: Package, request_id: bytes
    ) -> Taken:
        """Have a decision that lies on one server, and send it again where it must be."""
        for _ in range(TRIES):
            verdict = await self._fleet.submit(slot, package)
            if verdict.status == STALE:
                self.stale += 1
                package = pack(ops, verdict.now, self._layout, request_id)
            elif verdict.status == CROWDED:
                self.crowded += 1
                return await self._crowd(slot, ops, package, verdict, request_id)
            else:
                return self._read(ops, package, verdict)
        msg = "Redis's clock and this process's do not agree on the window"
        raise StoreUnavailableError(msg)

    def _read(self, ops: Sequence[Op], package: Package, verdict: Verdict) -> Taken:
        now, status, numbers = verdict
        passed = status == PASSED
        if not passed:
            self._over_limit.learn(ops, package, numbers, now)
        self._over_limit.forget(ops, passed=passed)
        return make_taken((now, passed, read(ops, package, numbers, now, passed=passed)))

    async def _crowd(
        self, slot: int, ops: Sequence[Op], package: Package, verdict: Verdict, request_id: bytes
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
        identity = request_id + b"~" if request_id else b""
        package = pack(again, verdict.now, self._layout, identity)
        now, passed, standings = await self._decide(slot, again, package, identity)
        told |= dict(zip(rest, standings, strict=True))
        return make_taken((now, passed, [told[index] for index in range(len(ops))]))

    async def _span(
        self, parts: dict[int, list[int]], ops: Sequence[Op], request_id: bytes
    ) -> Taken:
        """Decide part by part, at once, and give back where another part denies.

        Never over a limit. Until what is given back has arrived, others may be denied early; if
        this process dies before, what one call charged stays charged until its windows turn.
        """
        shares = {slot: stacked([ops[index] for index in own]) for slot, own in parts.items()}
        now = self.clock()
        outcomes = await asyncio.gather(
            *(
                self._decide(slot, share, pack(share, now, self._layout, request_id), request_id)
                for slot, share in shares.items()
            ),
            return_exceptions=True,
        )
        failure = next((each for each in outcomes if isinstance(each, BaseException)), None)
        passed = all(isinstance(each, Taken) and each.passed for each in outcomes)
        standings: dict[int, Standing] = {}
        for (slot, share), outcome in zip(shares.items(), outcomes, strict=True):
            if not isinstance(outcome, Taken):
                continue
            if outcome.passed and not passed:
                outcome = self._owed.give_back(slot, share, outcome)  # noqa: PLW2901 - as it is left
            standings |= dict(zip(parts[slot], outcome.standings, strict=True))
        if failure is not None:
            raise failure
        instant = max(each.now for each in outcomes if isinstance(each, Taken))
        return make_taken((instant, passed, [standings[index] for index in range(len(ops))]))

    async def _give_back(self, slot: int, ops: Sequence[Op], now: int, identity: bytes) -> None:
        """Undo charges in the windows of `now`, once, however often this is tried."""
        package = pack(ops, now, self._layout, identity, late=True)
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
