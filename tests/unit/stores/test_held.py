"""What leases cost in memory: the same however many one counter holds.

Counted in comparisons of instants and in steps of the interpreter, not by the clock: a loop over
all that is held shows in the one or in the other.
"""

from __future__ import annotations

import gc
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ratelimitd.clock import ManualClock
from ratelimitd.stores.memory.counters import MemoryCounters
from ratelimitd.stores.memory.held import Held
from ratelimitd.stores.memory.leases import LeaseTable
from tests.contract import lease_plants
from tests.support.ops import MINUTE, NEW_YEAR, acquire, leases, peek, release, renew
from tests.support.stores import at_once

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    import pytest

    from ratelimitd.model import Op

LIMIT = leases(10**6)
LIFETIME = LIMIT.meter.lease_us
FEW, MANY = 100, 100_000


class Instant(int):
    """An instant that counts how often any of its kind is compared."""

    compared = 0

    def __add__(self, other: int) -> Instant:
        """Return an instant that counts too."""
        return Instant(int(self) + other)

    def __lt__(self, other: int) -> bool:
        """Count, and compare."""
        Instant.compared += 1
        return int(self) < int(other)

    def __le__(self, other: int) -> bool:
        """Count, and compare."""
        Instant.compared += 1
        return int(self) <= int(other)

    def __gt__(self, other: int) -> bool:
        """Count, and compare."""
        Instant.compared += 1
        return int(self) > int(other)


def cost(work: Callable[[], object]) -> int:
    """Return the interpreter's steps and the comparisons that some work takes."""
    steps = 0

    def count(frame: FrameType, event: str, _: Any) -> Any:  # noqa: ANN401 - as settrace has it
        nonlocal steps
        frame.f_trace_opcodes = True
        steps += event == "opcode"
        return count

    Instant.compared = 0
    before = sys.gettrace()
    gc.disable()  # whoever is told of collections (hypothesis is) would be counted
    sys.settrace(count)
    try:
        work()
    finally:
        sys.settrace(before)
        gc.enable()
    return steps + Instant.compared


class Crowd:
    """A store with one counter that holds so many leases, one granted each microsecond."""

    def __init__(self, held: int) -> None:
        self.clock = ManualClock(Instant(NEW_YEAR))
        self.store = MemoryCounters(self.clock)
        for number in range(held):
            self.do(acquire(LIMIT, f"{number}"))
            self.clock.now = self.clock.now + 1

    def do(self, op: Op) -> int:
        """Do one operation, and return how many were held before it."""
        return at_once(self.store.take((op,))).standings[0].before

    def costs(self) -> dict[str, int]:
        """Return what each operation costs; two of those held end at the last."""
        return {
            "judging": cost(lambda: self.do(peek(LIMIT))),
            "acquiring": cost(lambda: self.do(acquire(LIMIT, "new"))),
            "renewing the oldest": cost(lambda: self.do(renew(LIMIT, "0"))),
            "renewing one": cost(lambda: self.do(renew(LIMIT, "50"))),
            "releasing the oldest": cost(lambda: self.do(release(LIMIT, "1"))),
            "releasing the last": cost(lambda: self.do(release(LIMIT, "new"))),
            "releasing one": cost(lambda: self.do(release(LIMIT, "60"))),
            "expiring": cost(self._expire),
        }

    def _expire(self) -> None:
        self.clock.now = Instant(NEW_YEAR + LIFETIME + 3)
        self.do(peek(LIMIT))


def assert_all_cost_the_same() -> None:
    """A thousand times as many held make nothing dearer."""
    few, many = Crowd(FEW), Crowd(MANY)
    assert many.costs() == few.costs()
    assert many.do(peek(LIMIT)) - few.do(peek(LIMIT)) == MANY - FEW


def test_an_operation_costs_the_same_however_many_are_held() -> None:
    """To judge, acquire, renew, release, and to let go of what has ended."""
    assert_all_cost_the_same()


def test_a_look_at_all_that_is_held_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin: a store that looks for what has ended among all, as this one once did."""
    lease_plants.looking_at_every_lease(monkeypatch)
    few, many = Crowd(FEW), Crowd(1_000)
    assert many.costs()["judging"] > 5 * few.costs()["judging"]


def test_what_is_kept_is_what_is_held() -> None:
    """Renewed a thousand times and released, a lease leaves nothing behind; nor does a lifetime."""
    held = Held()
    for turn in range(1_000):
        for name in "abc":
            held.hold(name, MINUTE + turn % 7, NEW_YEAR + MINUTE + turn)
    assert held.count(NEW_YEAR) == (3, NEW_YEAR + MINUTE + 999)
    assert [len(kind) for kind in held._kinds.values() if kind] == [3]
    for turn in range(1_000):
        held.hold(f"{turn}", 2 * MINUTE + turn, NEW_YEAR + 2 * MINUTE + turn)
        held.free(f"{turn}")
        held.free("abc"[turn % 3])
    assert held.count(NEW_YEAR) == (0, NEW_YEAR)
    assert len(held._kinds) <= 2


def test_what_has_ended_is_let_go_at_the_next_look() -> None:
    """Whatever was granted since: memory holds what is held."""
    store = MemoryCounters(clock := ManualClock(NEW_YEAR))
    short = leases(10**6, replace(LIMIT.meter, lease_us=MINUTE))
    for _ in range(20):
        for number in range(50):
            at_once(store.take((acquire(short, f"{clock.now}-{number}"),)))
        clock.advance(MINUTE)
    at_once(store.take((peek(short),)))
    (table,) = store.tables.values()
    assert isinstance(table, LeaseTable)
    (held,) = (*table._states.young.values(), *table._states._old.values())
    assert sum(len(kind) for kind in held._kinds.values()) == 0
