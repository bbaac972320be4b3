"""Alerts as tests make them: over an outbox in memory, for the agent API's keys."""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

from ratelimitd.accounts.alerting import Alerting
from ratelimitd.accounts.known import KnownKeys
from ratelimitd.accounts.memory_records import MemoryRecords
from ratelimitd.accounts.sealing import Sealer
from ratelimitd.accounts.sqlite_outbox import SqliteOutbox
from ratelimitd.clock import ManualClock
from ratelimitd.keys import Hasher
from ratelimitd.model import Subject
from ratelimitd.policy.matcher import Matcher
from ratelimitd.policy.spec import Policy
from tests.support.ops import NEW_YEAR
from tests.support.policies import HASHER, agent_api

SECRETS = (b"a secret of the tests", b"an older secret of theirs")


class Present:
    """The policies of a test."""

    def __init__(self, *policies: Policy, known: KnownKeys, hasher: Hasher = HASHER) -> None:
        self.matchers = {
            policy.domain: Matcher(policy, hasher, registry=known) for policy in policies
        }


class World(NamedTuple):
    """All that an alert touches."""

    alerting: Alerting
    outbox: SqliteOutbox
    known: KnownKeys
    present: Present
    sealer: Sealer
    clock: ManualClock
    changed: list[Subject]


@contextlib.asynccontextmanager
async def world(*policies: Policy, allow_private: bool = False) -> AsyncIterator[World]:
    """Yield everything, open."""
    clock = ManualClock(NEW_YEAR)
    known = KnownKeys(MemoryRecords(), clock)
    present = Present(*(policies or (agent_api(),)), known=known)
    outbox, sealer, changed = SqliteOutbox(), Sealer(SECRETS), list[Subject]()
    tell: Callable[[Subject], object] = changed.append
    ports = (outbox, known, present, sealer, clock)
    alerting = Alerting(*ports, allow_private=allow_private, on_change=tell)
    await outbox.start()
    try:
        yield World(alerting, outbox, known, present, sealer, clock, changed)
    finally:
        await outbox.close()
