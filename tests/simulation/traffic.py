"""What clients do: calls of every kind, some given up halfway, and what is told later if it failed.

`Client` stands where the limiter and its failure policy stand: it waits for nothing twice, and puts
what a failed call told into the replay queue, as `ratelimitd.failure` does.
"""

import asyncio
import contextlib
import random
from collections.abc import Sequence

from ratelimitd.errors import StoreError, StoreNotAskedError
from ratelimitd.model import Kind, Meter, MeterKind, Op, Window
from ratelimitd.stores.ports import Taken
from ratelimitd.stores.redis.counters import RedisCounters
from ratelimitd.stores.replay import Replay
from ratelimitd.stores.stacking import stacked
from tests.simulation.ledger import Ledger
from tests.support.ops import (
    MINUTELY,
    SECONDLY,
    acquire,
    bucket,
    charge,
    fixed,
    leases,
    peek,
    refund,
    release,
    renew,
    report,
    sliding,
)

WHO = ("ada", "bob", "cyd", "dan")
MINUTE, SECOND = fixed(12, MINUTELY), fixed(5, SECONDLY)
SLIDE, POUR = sliding(6, Window.lasting(2_000_000)), bucket(4, burst=4)
TOKENS = fixed(200, MINUTELY, Meter(name="tokens", kind=MeterKind.POSTPAID))
HELD = leases(3, Meter(name="concurrent", kind=MeterKind.LEASE, lease_us=3_000_000))
PLANS: tuple[tuple[Op, ...], ...] = (
    *(stacked([charge(limit, who=who)]) for who in WHO[:2] for limit in (MINUTE, SECOND)),
    *(stacked([charge(limit, who=who)]) for who in WHO[:2] for limit in (SLIDE, POUR)),
    *(stacked([charge(SECOND, 2, who=w), charge(POUR, who=w), peek(TOKENS, who=w)]) for w in WHO),
    *(stacked([charge(MINUTE, who=w), charge(SLIDE, who=w), charge(MINUTE, who=w)]) for w in WHO),
    stacked([charge(MINUTE, who="ada"), charge(SECOND, who="bob")]),
    stacked([charge(POUR, who="cyd"), charge(MINUTE, who="dan"), charge(SLIDE, who="ada")]),
    stacked([charge(SECOND, who="cyd"), charge(SECOND, who="dan"), charge(POUR, who="bob")]),
)
SPANNING = 3


class Client:
    """One process."""

    def __init__(
        self, number: int, counters: RedisCounters, ledger: Ledger, rng: random.Random
    ) -> None:
        self.number = number
        self.counters = counters
        self.dropped = 0
        self.replay = Replay(self, counters.clock, self.drop)
        self._ledger = ledger
        self._rng = rng
        self._calls = 0
        self._charged: list[Op] = []
        self.tasks: list[asyncio.Task[None]] = []

    def drop(self, _: str, count: int) -> None:
        """Take note of what is not told any more."""
        self.dropped += count

    async def take(
        self, ops: Sequence[Op], request_id: bytes = b"", remember_us: int = 0, lease: str = ""
    ) -> Taken:
        """Ask the store, and have it written down (what is replayed comes here too)."""
        self._calls += 1
        name = f"{self.number}-{self._calls}"
        return await self._ledger.ask(
            self.number, name, ops, self.counters.take(ops, request_id, remember_us, lease)
        )

    async def close(self) -> None:
        """Be `Counters`."""

    async def work(self, until: float) -> None:
        """Begin calls until an instant, and replay what failed."""
        loop = asyncio.get_running_loop()
        self.tasks.append(loop.create_task(self._look_after()))
        while loop.time() < until:
            await asyncio.sleep(self._rng.expovariate(30))
            for _ in range(self._rng.choice((1, 1, 2, 5))):
                self._begin()

    def _begin(self) -> None:
        task = asyncio.get_running_loop().create_task(self._one())
        self.tasks.append(task)
        if self._rng.random() < 0.05:
            asyncio.get_running_loop().call_later(self._rng.uniform(0, 0.02), task.cancel)

    async def _one(self) -> None:
        rng, who = self._rng, self._rng.choice(WHO)
        kind = rng.random()
        if kind < 0.7:
            plans = PLANS[-SPANNING:] if kind < 0.25 else PLANS[: 4 if kind < 0.45 else None]
            await self._charge(rng.choice(plans))
        elif kind < 0.8:
            await self._tell([report(TOKENS, rng.randint(1, 9), who=who)])
        elif kind < 0.9:
            if self._charged:
                op = self._charged.pop(rng.randrange(len(self._charged)))
                await self._tell([op._replace(kind=Kind.REFUND, prior=0)])
        else:
            await self._hold(who, rng.uniform(0, 1))

    async def _charge(self, ops: Sequence[Op]) -> None:
        with contextlib.suppress(StoreError):
            if (await self.take(ops)).passed and self._rng.random() < 0.5:
                self._charged += [op for op in ops if op.limit in {MINUTE, SECOND}]

    async def _tell(self, ops: Sequence[Op]) -> None:
        """Tell what has happened; what nobody answered is queued."""
        request_id = self._rng.randbytes(16)
        try:
            await self.take(ops, request_id)
        except StoreError as error:
            self.replay.add(ops, request_id, sent=not isinstance(error, StoreNotAskedError))
        except asyncio.CancelledError:
            self.replay.add(ops, request_id, sent=True)
            raise

    async def _hold(self, who: str, seconds: float) -> None:
        lease = f"lease-{self.number}-{self._calls}-{self._rng.randrange(10**6)}"
        let_go = [release(HELD, lease, who=who)]
        try:
            taken = await self.take([acquire(HELD, lease, who=who), charge(TOKENS, who=who)])
        except StoreError as error:
            if not isinstance(error, StoreNotAskedError):
                self.replay.add(let_go, b"", sent=True)
            return
        except asyncio.CancelledError:
            self.replay.add(let_go, b"", sent=True)
            raise
        if taken.passed:
            try:
                await asyncio.sleep(seconds)
                await self._tell([renew(HELD, lease, who=who)])
                await asyncio.sleep(seconds)
            finally:
                task = asyncio.get_running_loop().create_task(self._tell(let_go))
                self.tasks.append(task)

    async def _look_after(self) -> None:
        while True:
            await asyncio.sleep(0.1 * self._rng.uniform(0.5, 1.5))
            await self.replay.drain()

    async def end(self) -> None:
        """Stop all that still runs."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def try_each(self) -> list[str]:
        """Ask every server once more; return what went wrong."""
        wrong = []
        for who in WHO:
            try:
                await self.take([peek(TOKENS, who=who), refund(MINUTE, 0, who=who)])
            except StoreError as error:
                wrong.append(f"{self.number}: no service after the faults: {error}")
        return wrong
