"""The memory store and the naive model, side by side through random histories.

Every field of every result is compared, for all kinds of operations on several counters, while
time creeps, jumps, and is put exactly at and one microsecond before what was promised.
"""

from dataclasses import replace
from typing import NamedTuple

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from ratelimitd.algorithms import fixed_window, lease, sliding_window, token_bucket
from ratelimitd.clock import ManualClock
from ratelimitd.model import NEVER, Kind, Limit, Op, Window
from ratelimitd.stores.memory.counters import MemoryCounters
from tests.contract import lease_plants, plants
from tests.property.reference import Answer, Reference
from tests.support.ops import (
    DAY,
    HOUR,
    HOURLY,
    MINUTE,
    MINUTELY,
    NEW_YEAR,
    SECONDLY,
    S,
    bucket,
    fixed,
    leases,
    op,
    shadow,
    sliding,
)
from tests.support.stores import at_once

SEVEN = Window.lasting(7 * S)
LIMITS: tuple[Limit, ...] = (
    fixed(5, MINUTELY),
    fixed(3, SEVEN),
    sliding(6, MINUTELY),
    sliding(3, SEVEN),
    bucket(7, SECONDLY, burst=3),
    bucket(3, HOURLY, burst=4),
    leases(2),
    shadow(fixed(2, HOURLY)),
    shadow(replace(sliding(2, HOURLY), name="watched")),
)
STEPS = (0, 1, 999, 142_857, S, 7 * S - 1, 7 * S, 37 * S, MINUTE, 15 * MINUTE, HOUR, 40 * DAY)


class Asked(NamedTuple):
    """One operation, before what comes before it is known."""

    kind: int
    limit: Limit
    who: str
    hits: int
    lease: str
    ago: int


def everything_asked() -> list[Asked]:
    """Return all operations that the limits can have: a number picks one."""
    windowed = (Kind.CHARGE, Kind.CHARGE, Kind.PEEK, Kind.REPORT, Kind.REFUND)
    held = (Kind.ACQUIRE, Kind.ACQUIRE, Kind.PEEK, Kind.RELEASE, Kind.RENEW)
    return [
        Asked(kind, limit, who, hits if limit.window else 1, lease, ago)
        for limit in LIMITS
        for kind in (windowed if limit.window else held)
        for who in "ab"
        for hits in range(1, 5)
        for lease in ("x" if limit.window else "xyz")
        for ago in ((0, 1, 5 * S, 50 * S) if kind == Kind.REFUND else (0,))
    ]


ASKED = everything_asked()
PLACES = st.lists(st.integers(0, len(ASKED) - 1), min_size=1, max_size=4)


def as_ops(call: list[Asked], number: int, now: int) -> list[Op]:
    """Return the operations of one call, with what the call charges before each."""
    seen: dict[tuple[str, bytes], int] = {}
    ops = []
    for each in call:
        name = each.lease if each.kind == Kind.RELEASE else f"{each.lease}{number % 3}"
        as_of = now - each.ago if each.ago else 0
        made = op(each.kind, each.limit, each.hits, who=each.who, lease=name, as_of=as_of)
        if each.kind == Kind.CHARGE:
            identity = (made.counter.family, made.counter.key)
            made = made._replace(prior=seen.get(identity, 0))
            seen[identity] = made.prior + made.hits
        ops.append(made)
    return ops


class History(RuleBasedStateMachine):
    """Calls and time."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock(NEW_YEAR + 12_345_678)
        self.store = MemoryCounters(self.clock)
        self.model = Reference()
        self.calls = 0
        self.promised: list[int] = []

    @rule(places=PLACES)
    def take(self, places: list[int]) -> None:
        """Ask both, and compare all that they say."""
        self.calls += 1
        ops = as_ops([ASKED[place] for place in places], self.calls, self.clock.now)
        taken = at_once(self.store.take(ops))
        passed, answers = self.model.take(ops, self.clock.now)
        assert (taken.now, taken.passed) == (self.clock.now, passed)
        assert [Answer(*standing[1:]) for standing in taken.standings] == answers
        assert [standing.limit for standing in taken.standings] == [each.limit for each in ops]
        self.promised = [
            instant
            for standing in taken.standings
            for instant in (standing.retry_at, standing.reset_at)
            if instant != NEVER and instant > self.clock.now
        ]

    @rule(step=st.sampled_from(STEPS))
    def wait(self, step: int) -> None:
        """Let time go by."""
        self.clock.advance(step)

    @rule(index=st.integers(0, 7), short=st.booleans())
    def wait_for_a_promise(self, index: int, short: bool) -> None:
        """Go to an instant that was promised, or to the microsecond before it."""
        if self.promised:
            instant = self.promised[index % len(self.promised)] - short
            self.clock.advance(max(0, instant - self.clock.now))


def histories(examples: int, steps: int) -> None:
    """Run so many histories of so many steps."""
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        phases=(Phase.generate,),
        report_multiple_bugs=False,
    )
    run_state_machine_as_test(History, settings=chosen)


def test_twenty_thousand_steps_agree_with_the_reference() -> None:
    """The store is the definition, made fast: 400 histories of 50 steps."""
    histories(400, 50)


@pytest.mark.parametrize(
    "plant",
    [
        plants.charging_peeks,
        plants.judging_before_what_has_happened,
        plants.ignoring_prior,
        plants.telling_a_retry_one_too_late,
        plants.telling_a_reset_one_too_soon,
        plants.refunding_below_nothing,
        plants.denying_by_shadow_limits,
        lease_plants.giving_back_any_lease,
        lease_plants.holding_leases_one_too_long,
        lease_plants.renewing_for_nothing,
        lease_plants.refunding_into_later_windows,
    ],
)
def test_a_planted_bug_is_found(monkeypatch: pytest.MonkeyPatch, plant: plants.Plant) -> None:
    """The machine sees what the contract's checks see."""
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        histories(4000, 50)


def test_the_reference_shares_no_arithmetic_with_the_product() -> None:
    """A model that called `algorithms/` would agree with every bug of theirs."""
    names = vars(__import__("tests.property.reference", fromlist=["Reference"]))
    modules = (fixed_window, sliding_window, token_bucket, lease)
    assert not {id(value) for value in names.values()} & {id(module) for module in modules}
