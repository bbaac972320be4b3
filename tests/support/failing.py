"""A store that fails at the port, in each way that a port can fail, and remembers as Redis does."""

import enum
from collections import Counter as Tally
from collections.abc import Sequence
from dataclasses import replace

from ratelimitd.clock import ManualClock
from ratelimitd.decision import Decision
from ratelimitd.errors import StoreNotAskedError, StoreTimeoutError, StoreUnavailableError
from ratelimitd.failure import Failure
from ratelimitd.limiter import Limiter
from ratelimitd.model import Descriptor, Kind, Op, Question
from ratelimitd.policy.spec import OnStoreFailure, Policy
from ratelimitd.stores.memory.counters import MemoryCounters
from ratelimitd.stores.ports import ID_LIFETIME, Taken, leased
from tests.support.ops import NEW_YEAR
from tests.support.policies import HASHER


class Way(enum.Enum):
    """What comes of a take."""

    WELL = "well"
    NOT_ASKED = "not asked"
    REFUSED = "refused"
    LOST = "lost"
    """Silence, and nothing ran."""
    LATE = "late"
    """Silence, but it ran."""


AWAY = (Way.NOT_ASKED, Way.REFUSED, Way.LOST, Way.LATE)


class Failing:
    """Counters in memory that fail as told, and do the reports of an id once."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.way = Way.WELL
        self.takes = 0
        self.memory = MemoryCounters(clock)
        self._ids: dict[bytes, int] = {}

    async def take(
        self, ops: Sequence[Op], request_id: bytes = b"", remember_us: int = 0, lease: str = ""
    ) -> Taken:
        """Count, or fail."""
        self.takes += 1
        if self.way is Way.NOT_ASKED:
            raise StoreNotAskedError("the breaker is open")
        if self.way is Way.REFUSED:
            raise StoreUnavailableError("connection lost")
        if self.way is Way.LOST:
            raise StoreTimeoutError("silent")
        taken = await self._count(leased(ops, lease), request_id)
        if self.way is Way.LATE:
            raise StoreTimeoutError("silent")
        return taken

    async def _count(self, ops: Sequence[Op], request_id: bytes) -> Taken:
        repeated = self._ids.get(request_id, 0) > self.clock.now
        if repeated:
            ops = [op._replace(hits=0) if op.kind in (Kind.REPORT, Kind.REFUND) else op
                   for op in ops]  # fmt: skip
        elif request_id:
            self._ids[request_id] = self.clock.now + ID_LIFETIME
        return (await self.memory.take(ops))._replace(repeated=repeated)

    async def close(self) -> None:
        """Nothing of its own."""


class Outage:
    """A limiter on a store that can fail, with its failure policy."""

    def __init__(
        self,
        policy: Policy,
        mode: OnStoreFailure,
        now: int = NEW_YEAR,
        kind: type[Failure] = Failure,
    ) -> None:
        self.policy = policy
        self.clock = ManualClock(now)
        self.store = Failing(self.clock)
        self.counts: Tally[tuple[str, str]] = Tally()
        self.changes: list[bool] = []
        self.made = 0
        self._questions: dict[tuple[Descriptor, ...], Question] = {}
        self.failure = kind(
            self.store,
            self.clock,
            new_lease=self._new_lease,
            counts=self.counts,
            on_change=self.changes.append,
        )
        self.limiter = Limiter(
            [replace(policy, on_store_failure=mode)],
            self.store,
            HASHER,
            new_lease=self._new_lease,
            new_id=lambda: self._new_lease().encode(),
            on_event=lambda *_: None,
            failure=self.failure,
        )
        self.domain = policy.domain

    def _new_lease(self) -> str:
        self.made += 1
        return f"{self.made:08}"

    def use(self, mode: OnStoreFailure) -> None:
        """Change what the policy says of failures."""
        changed = replace(self.policy, on_store_failure=mode)
        self.limiter.use(self.limiter.matchers_of([changed]))

    async def ask(self, *descriptors: Descriptor) -> Decision:
        """Ask about some descriptors in one call; alike calls are one question, as at the edge."""
        question = self._questions.setdefault(descriptors, Question(self.domain, descriptors))
        return await self.limiter.decide(question)

    async def recover(self) -> None:
        """Let the store answer again, and look after it until nothing is left to do."""
        self.store.way = Way.WELL
        for _ in range(3):
            if await self.failure.look():
                return
        msg = "the store answers, but something is left to do"
        raise AssertionError(msg)
