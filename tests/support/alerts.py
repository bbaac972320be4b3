"""Alerts as tests make them: a limiter, a registry and an outbox in memory, on one clock."""

import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from ratelimitd.accounts.alerting import Alerting
from ratelimitd.accounts.known import KnownKeys
from ratelimitd.accounts.memory_records import MemoryRecords
from ratelimitd.accounts.outbox import Outbox
from ratelimitd.accounts.record import Record
from ratelimitd.accounts.sealing import Sealer
from ratelimitd.accounts.sqlite_outbox import SqliteOutbox
from ratelimitd.accounts.watch import Watch
from ratelimitd.clock import ManualClock
from ratelimitd.decision import Decision
from ratelimitd.limiter import Limiter
from ratelimitd.model import Question
from ratelimitd.policy.spec import Policy
from ratelimitd.stores.memory.counters import MemoryCounters
from tests.support.ops import NEW_YEAR
from tests.support.policies import HASHER, agent_api, describe

SECRETS = (b"a secret of the tests", b"an older secret of theirs")


class World(NamedTuple):
    """All that an alert touches."""

    alerting: Alerting
    watch: Watch
    outbox: Outbox
    known: KnownKeys
    limiter: Limiter
    clock: ManualClock
    counts: Counter[tuple[str, str]]

    def watches(self) -> bool:
        """Say whether decisions are told of."""
        return self.limiter.observe is not None

    async def register(self, api_key: str, tier: str = "pro", **fields: Any) -> None:  # noqa: ANN401 - the record's own
        """Let the registry have a key, or have it otherwise than before."""
        subject = HASHER.key(api_key)
        (before,) = await self.known.records.get([subject])
        version = before.version if before else 0
        record = Record(subject=subject, tier=tier, version=version, **fields)
        await self.known.records.put([record])
        self.known.changed([subject])

    async def say(self, *entries: str, hits: int | None = None) -> Decision:
        """Ask about one descriptor of the first domain."""
        domain = next(iter(self.limiter.matchers))
        return await self.limiter.decide(Question(domain, (describe(*entries, hits=hits),)))

    async def told(self) -> int:
        """Return how many messages there are once all that was noted is told."""
        assert await self.watch.tell_all()
        return await self.outbox.waiting()


@contextlib.asynccontextmanager
async def world(
    *policies: Policy, allow_private: bool = False, outbox: Outbox | None = None
) -> AsyncIterator[World]:
    """Yield everything, open; nothing of it runs by itself."""
    clock, counts = ManualClock(NEW_YEAR), Counter[tuple[str, str]]()
    known = KnownKeys(MemoryRecords(), clock)
    limiter = Limiter(
        policies or [agent_api()],
        MemoryCounters(clock, 1000),
        HASHER,
        new_lease=lambda: "lease",
        on_event=lambda *_: None,
        registry=known,
    )
    outbox = outbox or SqliteOutbox()
    watch = Watch(outbox, limiter, known, counts, lambda each: setattr(limiter, "observe", each))
    alerting = Alerting(
        outbox,
        known,
        limiter,
        Sealer(SECRETS),
        clock,
        allow_private=allow_private,
        on_change=watch.changed,
    )
    await outbox.start()
    try:
        yield World(alerting, watch, outbox, known, limiter, clock, counts)
    finally:
        await outbox.close()
