"""Random outages: a store that fails in each way, and calls that report, refund and acquire.

The store is a real one but for its failures. Whatever happens, what was reported counts once or is
known to be dropped, and nothing grows without bound.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from ratelimitd.errors import StoreError
from ratelimitd.failure import Failure
from ratelimitd.policy.spec import OnStoreFailure
from ratelimitd.stores import replay as replay_module
from ratelimitd.stores.replay import FULL, Item, Replay
from tests.support.failing import Outage, Way
from tests.support.ops import HOUR, MONTHLY, TOKENS, S, fixed, leases
from tests.support.policies import describe, with_tier
from tests.support.stores import at_once

MOST = 3
HELD = 3
POLICY = with_tier(fixed(1 << 50, MONTHLY, TOKENS), fixed(50), leases(HELD))
PEEK = describe("api_key=a", "meter=tokens", hits=0)
HELD_PEEK = describe("api_key=a", "meter=concurrent", hits=0)


class Watchless(Failure):
    """Looks after the store when the test says so."""

    def _wake(self) -> None:
        """Start nothing."""


class Histories(RuleBasedStateMachine):
    """One process and its store."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.outage = Outage(POLICY, OnStoreFailure.LOCAL, kind=Watchless)
        self.outage.failure._replay._most = MOST
        self.reported = 0
        self.held: list[str] = []

    @rule(way=st.sampled_from(Way), mode=st.sampled_from(OnStoreFailure))
    def turn(self, way: Way, mode: OnStoreFailure) -> None:
        """The store fails in another way, or no more; the policy says something else."""
        self.outage.store.way = way
        self.outage.use(mode)

    @rule(bit=st.integers(0, 3))
    def report(self, bit: int) -> None:
        """Tell of some hits, in a call that asks for something as well now and then."""
        hits = 1 + bit
        told = describe("api_key=a", "meter=tokens", "phase=done", hits=hits)
        more = [describe("api_key=a")] if bit == 3 else []
        self.reported += hits
        self.ask(told, *more)

    @rule()
    def acquire(self) -> None:
        """Ask for a lease."""
        lease = self.ask(describe("api_key=a", "meter=concurrent"))
        if lease:
            self.held.append(lease)

    @rule(place=st.integers(0, 5), twice=st.booleans())
    def release(self, place: int, twice: bool) -> None:
        """Give one back, perhaps more than once."""
        if self.held:
            lease = self.held.pop(place % len(self.held))
            for _ in range(1 + twice):
                done = describe("api_key=a", "meter=concurrent", "phase=done", f"lease={lease}")
                self.ask(done)

    @rule(pause=st.sampled_from((0, S, 50 * S, HOUR)))
    def look(self, pause: int) -> None:
        """Time passes, and the watch looks at the store."""
        self.outage.clock.advance(pause)
        if pause == HOUR:
            self.held.clear()
        self.loop.run_until_complete(self.outage.failure.look())

    @rule(way=st.sampled_from(Way))
    def drain(self, way: Way) -> None:
        """The store answers the watch, and then fails what is replayed."""
        self.outage.store.way = way
        self.loop.run_until_complete(self.outage.failure._replay.drain())

    def ask(self, *descriptors: Any) -> str:  # noqa: ANN401 - descriptors
        """Ask; return the lease that was granted."""
        try:
            return at_once(self.outage.ask(*descriptors)).lease
        except StoreError:
            return ""

    @invariant()
    def bounded(self) -> None:
        """The queue has its bound, and the store never counts more than was reported."""
        assert self.outage.failure.figures()["store_replay_queue"] <= MOST
        assert self.counted() <= self.reported

    def counted(self) -> int:
        """Return what the store itself counts now."""
        way, self.outage.store.way = self.outage.store.way, Way.WELL
        used = at_once(self.outage.ask(PEEK)).statuses[0].standing
        self.outage.store.way = way
        assert used is not None
        return used.after

    def teardown(self) -> None:
        """All is well in the end: what is missing was dropped, and no lease is left but ours."""
        try:
            self.loop.run_until_complete(self.outage.recover())
            dropped = self.outage.failure._replay.dropped.total()
            missing = self.reported - self.counted()
            assert self.outage.failure.is_up
            assert (missing == 0) if not dropped else (0 <= missing <= 4 * dropped)
            if not dropped:
                assert self.places() <= sum(not each.startswith("local.") for each in self.held)
        finally:
            self.loop.close()

    def places(self) -> int:
        """Return how many leases the store holds."""
        standing = at_once(self.outage.ask(HELD_PEEK)).statuses[0].standing
        assert standing is not None
        return standing.before


def run(examples: int = 100) -> None:
    """Run histories, without a line of log for each outage."""
    logging.disable(logging.WARNING)
    try:
        _run(examples)
    finally:
        logging.disable(logging.NOTSET)


def _run(examples: int) -> None:
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=examples, stateful_step_count=25, deadline=None, database=None,
            phases=(Phase.generate,), derandomize=True,
        ),
    )  # fmt: skip


def test_whatever_fails_counts_once_or_is_known_to_be_lost() -> None:
    """Every history keeps the laws above."""
    run()


Patch = pytest.MonkeyPatch


def replaying_without_ids(patch: Patch) -> None:
    """What had run counts again."""
    real = Replay.add
    patch.setattr(Replay, "add", lambda self, ops, _, *, sent: real(self, ops, b"", sent=sent))


def not_counting_what_a_full_queue_drops(patch: Patch) -> None:
    """The oldest vanish without a trace."""
    real = Replay._drop

    def drop(self: Replay, reason: str, count: int) -> None:
        if reason != FULL:
            real(self, reason, count)

    patch.setattr(Replay, "_drop", drop)


def a_queue_without_bound(patch: Patch) -> None:
    """Memory is all there is."""

    def append(self: Replay, item: Item) -> None:
        self._items.append(item)
        self.waiting += len(item.ops)

    patch.setattr(Replay, "_append", append)


def sending_what_may_have_run_for_ever(patch: Patch) -> None:
    """Ids that the store has forgotten."""
    patch.setattr(replay_module, "ID_LIFETIME", 1 << 60)


def forgetting_what_failed_again(patch: Patch) -> None:
    """One try is all that a report gets."""
    real = Replay._send

    async def send(self: Replay, batch: Any) -> list[Item]:  # noqa: ANN401
        await real(self, batch)
        return []

    patch.setattr(Replay, "_send", send)


def leaving_leases_that_nobody_was_told_of(patch: Patch) -> None:
    """A place that stays taken."""
    real = Failure._queue
    patch.setattr(
        Failure, "_queue", lambda self, ops, name, *, sent: real(self, ops, name, sent=False)
        if not any(op.kind > 2 for op in ops) else real(self, ops, name, sent=sent)
    )  # fmt: skip


PLANTS: tuple[Callable[[Patch], None], ...] = (
    replaying_without_ids,
    not_counting_what_a_full_queue_drops,
    a_queue_without_bound,
    sending_what_may_have_run_for_ever,
    forgetting_what_failed_again,
    leaving_leases_that_nobody_was_told_of,
)


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_found(plant: Callable[[Patch], None], monkeypatch: Patch) -> None:
    """Laws that cannot be broken would prove nothing."""
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        run()
