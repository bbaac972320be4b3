"""What is made good after an outage, what is told of it, and what it may cost."""

import asyncio
import contextlib
import logging

import pytest

from ratelimitd import failure as failure_module
from ratelimitd.policy.spec import OnStoreFailure
from ratelimitd.stores.replay import FULL, MOST_OPS, WINDOW_OVER
from tests.support.failing import AWAY, Outage, Way
from tests.support.ops import HOUR, fixed
from tests.support.policies import agent_api, with_tier
from tests.unit.test_failure import (
    CHARGE,
    DENY,
    ERROR,
    JUDGED,
    LOCAL,
    MODES,
    REFUND,
    REPORT,
    TOKENS,
    TOLD,
    answer,
)


@pytest.mark.parametrize("way", AWAY)
@pytest.mark.parametrize("mode", MODES)
async def test_reports_count_once_when_the_store_is_back(mode: OnStoreFailure, way: Way) -> None:
    """In every mode, also where the call itself ended in an error."""
    outage = Outage(agent_api(), mode)
    await outage.ask(REPORT)
    outage.store.way = way
    await outage.ask(REPORT)
    await answer(outage, REPORT, CHARGE)
    await outage.recover()
    used = (await outage.ask(TOKENS)).statuses[0].standing
    assert used is not None
    assert used.after == 21
    assert outage.failure.figures()["store_replayed_total"] == 2


async def test_a_report_whose_caller_went_away_counts_all_the_same() -> None:
    """The end of its wait says nothing about the store: the report is sent again with its id."""
    outage = Outage(agent_api(), LOCAL)
    real, asked, gate = outage.store.take, asyncio.Event(), asyncio.Event()

    async def slow(*args: object) -> object:
        asked.set()
        await gate.wait()
        return await real(*args)  # type: ignore[arg-type]

    outage.store.take = slow  # type: ignore[assignment, method-assign]
    call = asyncio.get_running_loop().create_task(outage.ask(REPORT))
    await asked.wait()
    call.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await call
    outage.store.take = real  # type: ignore[method-assign]
    assert outage.changes == [], "which is no outage"
    await outage.recover()
    used = (await outage.ask(TOKENS)).statuses[0].standing
    assert used is not None
    assert used.after == 7


async def test_a_report_for_a_window_that_is_over_is_dropped_and_counted() -> None:
    """An hour's refund has nothing to say in the next hour."""
    outage = Outage(with_tier(fixed(10)), ERROR)
    outage.store.way = Way.NOT_ASKED
    await outage.ask(REFUND)
    outage.clock.advance(HOUR)
    await outage.recover()
    assert outage.counts["store_replay_dropped", WINDOW_OVER] == 1


async def test_an_endless_outage_has_a_bound() -> None:
    """More reports than the queue holds: the newest are kept, and the lost ones are known."""
    outage = Outage(agent_api(), DENY)
    outage.store.way = Way.NOT_ASKED
    for _ in range(MOST_OPS + 1000):
        await outage.ask(REPORT)
    assert outage.failure.figures()["store_replay_queue"] == MOST_OPS
    assert outage.counts["store_replay_dropped", FULL] == 1000
    await outage.recover()
    assert outage.failure.figures()["store_replayed_total"] == MOST_OPS


async def test_an_outage_is_logged_twice_however_many_calls_it_has(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One line when the store goes and one when it is back, with how long and how many."""
    outage = Outage(agent_api(), LOCAL)
    with caplog.at_level(logging.INFO, "ratelimitd"):
        outage.store.way = Way.LOST
        for _ in range(50):
            await outage.ask(CHARGE, REPORT)
        await outage.recover()
    gone, back = (line.getMessage() for line in caplog.records)
    assert gone.startswith("the store does not answer (silent)")
    assert "50 calls were decided without it, 50 reports" in back
    assert "0 were dropped" in back
    assert outage.changes == [False, True]
    assert "api_key" not in caplog.text


async def test_a_store_that_answers_some_calls_is_not_back() -> None:
    """One part of a cluster is away: as long as calls fail, what stands in is not forgotten."""
    outage = Outage(agent_api(), LOCAL)
    outage.store.way = Way.REFUSED
    await outage.ask(CHARGE)
    for _ in range(3):
        outage.store.way = Way.WELL
        real = outage.failure._replay.drain

        async def failing_meanwhile(drain: object = real) -> None:
            outage.store.way = Way.REFUSED
            await outage.ask(CHARGE)
            await drain()  # type: ignore[operator]

        outage.failure._replay.drain = failing_meanwhile  # type: ignore[method-assign]
        assert not await outage.failure.look()
        outage.failure._replay.drain = real  # type: ignore[method-assign]
    assert outage.changes == [False]
    await outage.recover()
    assert outage.changes == [False, True]


async def test_the_watch_ends_the_outage_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has to ask: a task looks after the store until all is well, and then ends."""
    monkeypatch.setattr(failure_module, "PAUSE", 0.001)
    outage = Outage(agent_api(), ERROR)
    outage.store.way = Way.LOST
    await outage.ask(REPORT)
    watch = outage.failure._watch
    assert watch is not None
    outage.store.way = Way.WELL
    await asyncio.wait_for(watch, 30)
    assert outage.changes == [False, True]
    assert outage.failure.figures()["store_replayed_total"] == 1


async def test_what_is_left_at_the_end_is_tried_once_more_and_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A process that ends gets rid of what it can, and says how much it could not."""
    for way, lost in ((Way.WELL, 0), (Way.LOST, 1)):
        caplog.clear()
        outage = Outage(agent_api(), LOCAL)
        outage.store.way = Way.NOT_ASKED
        await outage.ask(REPORT)
        outage.store.way = way
        await outage.failure.close()
        assert outage.failure.figures()["store_replay_queue"] == lost
        assert caplog.text.count("ends with 1 reports") == lost
        assert outage.failure._watch is not None
        assert outage.failure._watch.done()


async def test_without_an_outage_nothing_runs_and_nothing_is_kept() -> None:
    """The twin: a store that answers has no watch, no queue, and no counts beside its own."""
    outage = Outage(agent_api(), LOCAL)
    for each in (*JUDGED.values(), *TOLD.values()):
        await outage.ask(each)
    assert outage.failure._watch is None
    assert outage.failure.figures() == {
        "store_up": 1,
        "store_standby_counters": 0,
        "store_replay_queue": 0,
        "store_replayed_total": 0,
    }
    assert not outage.counts
