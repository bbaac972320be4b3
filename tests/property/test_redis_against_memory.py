"""The Python core and the Lua script, side by side through the same random histories.

Every field of every result is compared: the memory store runs `algorithms/`, Redis the script. Time
stands where hypothesis puts it; counts, hits and amounts reach to where integers end.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from ratelimitd.clock import ManualClock
from ratelimitd.model import MAX_COUNT, Algorithm, Kind, Limit, Op
from ratelimitd.stores.memory.counters import MemoryCounters
from ratelimitd.stores.redis.script import Script
from ratelimitd.stores.stacking import stacked
from tests.support.ops import (
    HOUR,
    HOURLY,
    MINUTE,
    MINUTELY,
    MONTHLY,
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
from tests.support.stores import at_once, redis_opener

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ratelimitd.stores.ports import Counters
    from tests.support.redis.server import Server

LIMITS: tuple[Limit, ...] = (
    fixed(3, HOURLY),
    fixed(10, MINUTELY),
    fixed(MAX_COUNT, MONTHLY),
    fixed(0, SECONDLY),
    sliding(6, MINUTELY),
    bucket(3, SECONDLY, burst=2),
    bucket(3, MINUTELY, burst=4),
    leases(2),
    shadow(fixed(2, MINUTELY)),
    shadow(replace(sliding(2, HOURLY), name="watched")),
)
STEPS = (1, 999, 142_857, S, 7 * S, MINUTE - 1, MINUTE, 17 * MINUTE, HOUR)
HITS = st.one_of(st.integers(1, 4), st.sampled_from((12, MAX_COUNT - 5, MAX_COUNT, 2**64 - 1)))
COUNTED = (Kind.CHARGE, Kind.CHARGE, Kind.PEEK, Kind.REPORT, Kind.REFUND)
HELD = (Kind.ACQUIRE, Kind.ACQUIRE, Kind.RELEASE, Kind.RENEW, Kind.PEEK)
IDS = (b"", b"", b"one", b"another")
LONG = 20_000 * HOUR
"""Longer than any history: Redis forgets ids by its own time."""


@st.composite
def asked(draw: st.DrawFn) -> Op:
    """Return one operation of any kind."""
    limit = draw(st.sampled_from(LIMITS))
    who, bounded = draw(st.sampled_from("ab")), draw(st.booleans())
    if limit.algorithm is Algorithm.LEASE:
        lease = draw(st.sampled_from("klm"))
        return op(draw(st.sampled_from(HELD)), limit, who=who, lease=lease, bounded=bounded)
    kind = draw(st.sampled_from(COUNTED))
    ago = draw(st.sampled_from((0, S, MINUTE, HOUR))) if kind == Kind.REFUND else 0
    return op(kind, limit, draw(HITS), who=who, bounded=bounded, as_of=ago)


class SideBySide(RuleBasedStateMachine):
    """Does the same to both."""

    def __init__(self, runner: asyncio.Runner, server: Server) -> None:
        super().__init__()
        self.run, self.server = runner.run, server
        self.clock = ManualClock(NEW_YEAR)
        self.memory = MemoryCounters(self.clock)
        self.redis: Counters | None = None

    @initialize(start=st.integers(0, HOUR))
    def begin(self, start: int) -> None:
        """Begin both with nothing, somewhere within an hour."""
        self.clock.advance(start)
        self.server.flush()
        opener: Any = redis_opener(self.server.url)
        self.redis = self.run(opener(self.clock, 1_000_000, None))

    @rule(ops=st.lists(asked(), min_size=1, max_size=4), request_id=st.sampled_from(IDS))
    def take(self, ops: list[Op], request_id: bytes) -> None:
        """One call."""
        assert self.redis is not None
        now = self.clock.now
        call = stacked([op._replace(as_of=now - op.as_of) if op.as_of else op for op in ops])
        core = at_once(self.memory.take(call, request_id, LONG))
        lua = self.run(self.redis.take(call, request_id, LONG))
        assert (core.now, core.passed, core.repeated) == (lua.now, lua.passed, lua.repeated)
        assert list(core.standings) == list(lua.standings)

    @rule(step=st.sampled_from(STEPS))
    def wait(self, step: int) -> None:
        """Time passes."""
        self.clock.advance(step)

    def teardown(self) -> None:
        """Let go of the connection."""
        if self.redis is not None:
            self.run(self.redis.close())


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """A loop that lives as long as the test."""
    with asyncio.Runner() as made:
        yield made


def compare(runner: asyncio.Runner, server: Server, *phases: Phase) -> None:
    """Go through many histories. Raises `AssertionError` where one differs."""

    def machine() -> SideBySide:
        return SideBySide(runner, server)

    run_state_machine_as_test(
        machine,  # type: ignore[arg-type]  # any function that makes one will do
        settings=settings(
            max_examples=30, stateful_step_count=20, report_multiple_bugs=False, phases=phases
        ),
    )


def test_lua_decides_as_python_does(runner: asyncio.Runner, any_server: Server) -> None:
    """Through every history, on both kinds of servers."""
    compare(runner, any_server, *Phase)


def test_a_script_that_forgets_to_give_back_is_found(
    runner: asyncio.Runner, redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison can fail: a planted bug of the script's makes it."""
    load = Script.load

    def spoiled(**instead: str) -> Script:
        text = load(**instead).text
        assert text.count(b"give_back(index) end") == 1
        return Script(text.replace(b"give_back(index) end", b"local _ = index end"))

    monkeypatch.setattr(Script, "load", spoiled)
    with pytest.raises(AssertionError):
        compare(runner, redis_server, Phase.generate)
