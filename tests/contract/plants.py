"""Bugs that can be planted into the memory store, for the tests of its tests.

Each is a function that patches one thing, named by what the store then does.
"""

from collections.abc import Callable
from typing import Any

import pytest

from ratelimitd.algorithms import fixed_window, sliding_window, token_bucket
from ratelimitd.model import FOREVER, OVERFLOW, Kind, Standing
from ratelimitd.stores.memory import aging, counters, paged, table
from ratelimitd.stores.memory.counters import MemoryCounters
from ratelimitd.stores.ports import Taken
from tests.support.stores import at_once

Patch = pytest.MonkeyPatch
Plant = Callable[[Patch], None]
ALGORITHMS = (fixed_window, sliding_window, token_bucket)


def wrap(patch: Patch, owner: Any, name: str, change: Callable[..., Any]) -> None:  # noqa: ANN401
    """Put `change(original, *args)` in the place of a function."""
    original = getattr(owner, name)
    patch.setattr(owner, name, lambda *args, **named: change(original, *args, **named))


def charging_what_passes_in_a_denied_call(patch: Patch) -> None:
    """All-or-nothing off: each operation for itself."""

    async def take(self: MemoryCounters, ops: Any, *_: Any) -> Taken:  # noqa: ANN401
        parts = [at_once(original(self, [op])) for op in ops]
        standings = [standing for part in parts for standing in part.standings]
        return Taken(self.clock(), all(part.passed for part in parts), standings)

    original = MemoryCounters.take
    patch.setattr(MemoryCounters, "take", take)


def charging_peeks(patch: Patch) -> None:
    """A question that is paid for."""
    patch.setattr(counters, "_ACQUIRE", Kind.PEEK)


def ignoring_prior(patch: Patch) -> None:
    """Two charges on one counter, each judged alone."""

    async def take(self: MemoryCounters, ops: Any, *_: Any) -> Taken:  # noqa: ANN401
        return await original(self, [op._replace(prior=0) for op in ops])

    original = MemoryCounters.take
    patch.setattr(MemoryCounters, "take", take)


def _changing(patch: Patch, change: Callable[[Standing], Standing]) -> None:
    """Change every result of the three algorithms of windows."""
    for module in ALGORITHMS:
        wrap(patch, module, "judge", lambda judge, *args: change(judge(*args)))


def telling_a_retry_one_too_soon(patch: Patch) -> None:
    """A client that obeys is denied again."""
    _changing(patch, lambda s: s if s.passes or s.retry_at < 0 else s._replace(retry_at=s[4] - 1))


def telling_a_retry_one_too_late(patch: Patch) -> None:
    """True, but not the first instant."""
    _changing(patch, lambda s: s if s.passes or s.retry_at < 0 else s._replace(retry_at=s[4] + 1))


def telling_a_reset_one_too_soon(patch: Patch) -> None:
    """Not yet whole."""
    _changing(patch, lambda s: s._replace(reset_at=s.reset_at - 1))


def telling_a_reset_one_too_late(patch: Patch) -> None:
    """Whole before."""
    _changing(patch, lambda s: s._replace(reset_at=s.reset_at + 1))


def telling_a_wait_to_what_never_fits(patch: Patch) -> None:
    """A client that waits for ever."""
    _changing(patch, lambda s: s._replace(retry_at=FOREVER) if s.retry_at < 0 else s)


def allowing_one_too_many(patch: Patch) -> None:
    """`<=` for `<`."""
    for module in ALGORITHMS:
        wrap(
            patch,
            module,
            "judge",
            lambda judge, limit, state, need, *rest: judge(limit, state, max(need - 1, 0), *rest),
        )


def refunding_below_nothing(patch: Patch) -> None:
    """Saving up by giving back."""
    patch.setattr(fixed_window, "add", lambda used, hits: used + hits)


def forgetting_to_saturate(patch: Patch) -> None:
    """Counts that Lua could not hold."""
    patch.setattr(fixed_window, "add", lambda used, hits: max(0, used + hits))


def refunding_the_last_window(patch: Patch) -> None:
    """What was used comes back."""
    patch.setattr(
        sliding_window, "add", lambda state, hits, _: (max(0, state[0] + hits), 0 * state[1])
    )
    wrap(patch, paged.SlidingTable, "take_back", _taking_the_last_window_too)


def _taking_the_last_window_too(take_back: Any, table: Any, op: Any, now: int) -> None:  # noqa: ANN401
    take_back(table, op, now)
    table.previous.pop(op.counter.key, None)


def denying_by_shadow_limits(patch: Patch) -> None:
    """What is only watched binds."""

    async def take(self: MemoryCounters, ops: Any, *_: Any) -> Taken:  # noqa: ANN401
        taken = await original(self, ops)
        return taken._replace(passed=all(standing.passes for standing in taken.standings))

    original = MemoryCounters.take
    patch.setattr(MemoryCounters, "take", take)


def dropping_reports_of_denied_calls(patch: Patch) -> None:
    """What has happened is forgotten because something else was denied."""

    async def take(self: MemoryCounters, ops: Any, *_: Any) -> Taken:  # noqa: ANN401
        asked = [op._replace(kind=min(op.kind, Kind.PEEK)) for op in ops]
        if not (await original(self, [op._replace(kind=Kind.PEEK) for op in asked])).passed:
            return await original(self, asked)
        return await original(self, ops)

    original = MemoryCounters.take
    patch.setattr(MemoryCounters, "take", take)


def telling_a_denied_call_what_it_would_have_left(patch: Patch) -> None:
    """Numbers of a charge that did not happen."""
    for kind in (table.Usual, paged.FixedTable, paged.SlidingTable):
        patch.setattr(kind, "restate", lambda _, __, standing, ___: standing)


def counting_all_callers_together(patch: Patch) -> None:
    """One key for all."""

    async def take(self: MemoryCounters, ops: Any, *_: Any) -> Taken:  # noqa: ANN401
        shared = [op._replace(counter=type(op.counter)(op.counter.family, b"", bounded=False))
                  for op in ops]  # fmt: skip
        return await original(self, shared)

    original = MemoryCounters.take
    patch.setattr(MemoryCounters, "take", take)


def never_running_out_of_room(patch: Patch) -> None:
    """Memory without bound."""
    wrap(patch, MemoryCounters, "__init__", lambda init, self, clock, room=0: init(self, clock))


def evicting_for_newcomers(patch: Patch) -> None:
    """The oldest counter makes room: who floods, resets the others."""

    def add(self: Any, op: Any, hits: int, now: int) -> None:  # noqa: ANN401
        if op.counter.key not in self.counts and len(self.counts) >= self._room:
            self.counts.pop(next(iter(self.counts)))
            self.strangers -= 1
        original(self, op, hits, now)

    original = paged.FixedTable.add
    patch.setattr(paged.FixedTable, "add", add)


def counting_regulars_anew_in_each_window(patch: Patch) -> None:
    """Sliding windows whose strangers are forgotten at the turn, so that they pile up."""

    def turn(self: Any, now: int) -> None:  # noqa: ANN401
        original(self, now)
        self.strangers = self._present = 0

    original = paged.SlidingTable._turn
    patch.setattr(paged.SlidingTable, "_turn", turn)


def inventing_counters_by_refunds(patch: Patch) -> None:
    """Room for nothing: a refund takes a place."""
    wrap(
        patch,
        paged.FixedTable,
        "take_back",
        lambda take_back, table, op, now: (table.add(op, 0, now), take_back(table, op, now)),
    )


def forgetting_too_soon(patch: Patch) -> None:
    """Buckets that are full again when they are merely old."""
    wrap(
        patch, aging.Aging, "age", lambda age, self, now, lifetime: age(self, now, lifetime // 100)
    )


def forgetting_the_young_with_the_old(patch: Patch) -> None:
    """Both generations dropped at once."""

    def age(self: Any, now: int, lifetime: int) -> None:  # noqa: ANN401
        original(self, now, lifetime)
        if self._turned == now:
            self._old = {}

    original = aging.Aging.age
    patch.setattr(aging.Aging, "age", age)


def judging_before_what_has_happened(patch: Patch) -> None:
    """Reports and refunds are done last, as if the call had been judged without them."""

    def tell_last(self: MemoryCounters, ops: Any, now: int, lease: str) -> Taken:  # noqa: ANN401
        _, passed, rest, _ = self._decide([op for op in ops if op.kind <= Kind.PEEK], now, lease)
        asked = iter(rest)
        return Taken(
            now, passed, [self._tell(op, now) if op.kind > Kind.PEEK else next(asked) for op in ops]
        )

    patch.setattr(MemoryCounters, "_tell_first", tell_last)


def judging_newcomers_of_one_call_alone(patch: Patch) -> None:
    """Each sees the shared counter as it was before the call."""
    patch.setattr(MemoryCounters, "_placed", lambda _, ops, __: ops)


def sharing_one_overflow(patch: Patch) -> None:
    """Who invents counters under a registered key pushes everybody into one."""

    async def take(self: MemoryCounters, ops: Any, *_: Any) -> Taken:  # noqa: ANN401
        for op in ops:
            op.counter.overflow = OVERFLOW
        return await original(self, ops)

    original = MemoryCounters.take
    patch.setattr(MemoryCounters, "take", take)


def keeping_for_ever(patch: Patch) -> None:
    """A window that never turns."""
    wrap(
        patch,
        paged.FixedTable,
        "_turn",
        lambda turn, self, now: turn(self, now) if self._end == 0 else None,
    )
    patch.setattr(MemoryCounters, "sweep", lambda *_: None)
