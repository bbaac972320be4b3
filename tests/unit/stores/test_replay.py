"""The queue of what has happened but is not yet counted."""

from typing import Any

import pytest

from ratelimitd.clock import ManualClock
from ratelimitd.model import Op
from ratelimitd.stores.ports import ID_LIFETIME
from ratelimitd.stores.replay import AT_ONCE, FULL, ID_FORGOTTEN, WINDOW_OVER, Replay
from tests.support.failing import AWAY, Failing, Way
from tests.support.ops import (
    HOUR,
    HOURLY,
    MINUTE,
    MONTHLY,
    NEW_YEAR,
    acquire,
    bucket,
    fixed,
    leases,
    peek,
    release,
    report,
    sliding,
)

MONTH = fixed(1000, MONTHLY)


class Queue:
    """A queue, its store, and what was dropped."""

    def __init__(self, most: int = 100) -> None:
        self.clock = ManualClock(NEW_YEAR)
        self.store = Failing(self.clock)
        self.drops: list[tuple[str, int]] = []
        self.replay = Replay(
            self.store, self.clock, lambda why, many: self.drops.append((why, many)), most
        )

    async def used(self, op: Op) -> int:
        """Return what the store counted."""
        self.store.way = Way.WELL
        return (await self.store.take([op])).standings[0].before

    async def try_and_queue(self, op: Op, way: Way, request_id: bytes = b"1") -> None:
        """Let the store fail a call in some way, and queue what it told."""
        self.store.way = way
        with pytest.raises(Exception, match=r"."):
            await self.store.take([op], request_id)
        self.replay.add([op], request_id, sent=way is not Way.NOT_ASKED)


@pytest.mark.parametrize("way", AWAY)
@pytest.mark.parametrize("again", AWAY)
async def test_a_report_counts_once_whatever_came_of_its_tries(way: Way, again: Way) -> None:
    """It ran or it did not, at the first try or at a replay: it counts exactly once."""
    queue = Queue()
    await queue.try_and_queue(report(MONTH, 7), way)
    queue.store.way = again
    await queue.replay.drain()
    queue.store.way = Way.WELL
    await queue.replay.drain()
    assert await queue.used(peek(MONTH)) == 7
    assert (queue.replay.waiting, queue.replay.replayed, queue.drops) == (0, 1, [])


async def test_without_ids_a_replay_doubles() -> None:
    """The twin: it is the id that keeps a report which had run from counting again."""
    queue = Queue()
    await queue.try_and_queue(report(MONTH, 7), Way.LATE, b"")
    queue.store.way = Way.WELL
    await queue.replay.drain()
    assert await queue.used(peek(MONTH)) == 14


@pytest.mark.parametrize(("past", "used"), [(-1, 7), (0, 0)])
async def test_what_may_have_run_is_not_sent_once_its_id_is_forgotten(past: int, used: int) -> None:
    """Better lost than twice: the store no longer knows whether it ran."""
    queue = Queue()
    await queue.try_and_queue(report(MONTH, 7), Way.LOST)
    queue.clock.advance(ID_LIFETIME + past)
    queue.store.way = Way.WELL
    await queue.replay.drain()
    assert await queue.used(peek(MONTH)) == used
    assert queue.drops == ([] if used else [(ID_FORGOTTEN, 1)])


async def test_what_certainly_did_not_run_may_wait_for_longer() -> None:
    """A breaker that was open for an hour loses no report; a try that fails begins the clock."""
    queue = Queue()
    await queue.try_and_queue(report(MONTH, 7), Way.NOT_ASKED, b"1")
    await queue.try_and_queue(report(MONTH, 5), Way.NOT_ASKED, b"2")
    queue.clock.advance(HOUR)
    queue.store.way = Way.LOST
    await queue.replay.drain()
    queue.clock.advance(ID_LIFETIME - 1)
    queue.store.way = Way.WELL
    await queue.replay.drain()
    assert await queue.used(peek(MONTH)) == 12


@pytest.mark.parametrize(
    ("op", "end"),
    [
        (report(fixed(10, HOURLY), 3), HOUR),
        (report(sliding(10), 3), HOUR),
        (report(bucket(10, HOURLY, burst=10), 3), HOUR * 3 // 10),
        (report(MONTH, 3), 31 * 24 * HOUR),
    ],
    ids=["fixed", "sliding", "bucket", "month"],
)
async def test_nothing_counts_in_a_later_window(op: Op, end: int) -> None:
    """A report of a window that is over is dropped; the instant before, it counts."""
    for late in (0, 1):
        queue = Queue()
        await queue.try_and_queue(op, Way.NOT_ASKED)
        queue.clock.advance(end - 1 + late)
        queue.store.way = Way.WELL
        await queue.replay.drain()
        assert queue.drops == [(WINDOW_OVER, 1)] * late
        assert queue.replay.replayed == 1 - late


async def test_the_parts_of_a_call_end_each_with_its_window() -> None:
    """What the minute no longer wants, the month still gets."""
    queue = Queue()
    minute = fixed(10, HOURLY)
    queue.replay.add([report(minute, 3), report(MONTH, 3)], b"1", sent=False)
    queue.clock.advance(HOUR)
    await queue.replay.drain()
    assert queue.drops == [(WINDOW_OVER, 1)]
    assert await queue.used(peek(MONTH)) == 3
    assert await queue.used(peek(minute)) == 0


async def test_a_release_is_sent_until_its_lease_has_ended() -> None:
    """Once, however often it comes: it may go on for longer than ids are remembered."""
    queue = Queue()
    limit = leases(1)
    await queue.store.take([acquire(limit, "x")])
    await queue.try_and_queue(release(limit, "x"), Way.LATE, b"")
    queue.clock.advance(ID_LIFETIME + 1)
    queue.store.way = Way.WELL
    await queue.replay.drain()
    assert (queue.replay.replayed, queue.drops) == (1, [])
    await queue.try_and_queue(release(limit, "x"), Way.LOST, b"")
    queue.clock.advance(15 * MINUTE)
    queue.store.way = Way.WELL
    await queue.replay.drain()
    assert queue.drops == [(WINDOW_OVER, 1)]


async def test_the_queue_is_bounded_and_the_oldest_are_dropped_and_counted() -> None:
    """However long the store is away, memory is what it is, and what is lost is known."""
    queue = Queue(most=10)
    for number in range(25):
        await queue.try_and_queue(report(MONTH, 1 << number), Way.NOT_ASKED, b"%d" % number)
        assert queue.replay.waiting <= 10
    assert queue.replay.dropped == {FULL: 15}
    assert queue.drops == [(FULL, 1)] * 15
    queue.store.way = Way.WELL
    await queue.replay.drain()
    assert await queue.used(peek(MONTH)) == sum(1 << number for number in range(15, 25))


async def test_a_store_that_goes_away_again_is_not_asked_for_everything() -> None:
    """One batch that fails wholly ends the round, and nothing of the queue is lost."""
    queue = Queue(most=1000)
    for number in range(500):
        queue.replay.add([report(MONTH)], b"%d" % number, sent=False)
    queue.store.way = Way.LOST
    await queue.replay.drain()
    assert (queue.store.takes, queue.replay.waiting) == (AT_ONCE, 500)
    queue.store.way = Way.WELL
    await queue.replay.drain()
    assert await queue.used(peek(MONTH)) == 500


async def test_a_store_that_refuses_some_gets_the_others() -> None:
    """One part of a store may be away while the rest is not."""
    queue = Queue(most=1000)
    for who in ("well", "away") * 100:
        queue.replay.add([report(MONTH, who=who)], b"", sent=False)
    real = queue.store.take

    async def take(ops: list[Op], *call: Any) -> object:  # noqa: ANN401
        queue.store.way = Way.REFUSED if ops[0].counter.key == b"away" else Way.WELL
        return await real(ops, *call)

    queue.store.take = take  # type: ignore[assignment, method-assign]
    await queue.replay.drain()
    assert (queue.replay.replayed, queue.replay.waiting) == (100, 100)


async def test_a_round_that_breaks_off_loses_nothing() -> None:
    """Whatever ends it (a cancellation, a bug of the store), its batch is queued again."""
    queue = Queue()
    queue.replay.add([report(MONTH)], b"1", sent=False)

    async def take(ops: list[Op], *call: Any) -> object:  # noqa: ANN401
        del ops, call
        raise KeyError("a store's bug")

    queue.store.take = take  # type: ignore[assignment, method-assign]
    with pytest.raises(KeyError):
        await queue.replay.drain()
    assert queue.replay.waiting == 1
