"""A store on a clock that the test moves: what contract checks and scenario tables are given."""

from collections.abc import Awaitable, Callable

from ratelimitd.clock import Clock, ManualClock
from ratelimitd.model import Op, Standing
from ratelimitd.stores.ports import Store, Taken
from tests.support.ops import NEW_YEAR

ROOM = 1000
Make = Callable[[Clock, int], Awaitable[Store]]


class Bench:
    """One store under test. `make` opens a store of its kind; whoever gave `make` closes it."""

    def __init__(self, make: Make, counters: Store, clock: ManualClock) -> None:
        self._make = make
        self.counters = counters
        self.clock = clock

    @classmethod
    async def open(cls, make: Make, now: int = NEW_YEAR, room: int = ROOM) -> "Bench":
        """Open a fresh store at an instant."""
        clock = ManualClock(now)
        return cls(make, await make(clock, room), clock)

    async def fresh(self, now: int = NEW_YEAR, room: int = ROOM) -> "Bench":
        """Open another fresh store of the same kind."""
        return await Bench.open(self._make, now, room)

    async def take(self, *ops: Op) -> Taken:
        """Do operations as one call."""
        return await self.counters.take(ops)

    async def one(self, operation: Op) -> Standing:
        """Do one operation as a call of its own."""
        taken = await self.counters.take([operation])
        return taken.standings[0]

    async def passes(self, *ops: Op) -> bool:
        """Do operations as one call, and say whether it passed."""
        taken = await self.counters.take(ops)
        return taken.passed


Check = Callable[[Bench], Awaitable[None]]
"""One promise of a store's contract; fails by AssertionError."""
