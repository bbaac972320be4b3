"""What the file store keeps, for how long, and what never gets into the file."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from typing import TYPE_CHECKING

import pytest

from ratelimitd.clock import ManualClock
from ratelimitd.errors import StoreUnavailableError
from ratelimitd.limiter import Limiter
from ratelimitd.model import Question
from ratelimitd.stores.file import FileCounters
from tests.e2e.support.counts_files import contents, opened, used, used_at_rest
from tests.support.ops import (
    DAY,
    HOUR,
    MINUTE,
    MINUTELY,
    MONTHLY,
    NEW_YEAR,
    SECONDLY,
    TOKENS,
    S,
    bucket,
    charge,
    fixed,
    report,
    sliding,
)
from tests.support.policies import HASHER, agent_api, describe

if TYPE_CHECKING:
    from pathlib import Path

    from ratelimitd.model import Limit

HOURLY = fixed(100)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the counts are."""
    return tmp_path / "counts.db"


def rows(path: Path) -> int:
    """Return how many counters are at rest."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM counts").fetchone()
    return int(count)


EVERY_KIND = (
    HOURLY,
    fixed(5, MONTHLY, TOKENS),
    sliding(20),
    bucket(5, burst=10),
)


async def test_every_kind_of_limit_goes_on_where_it_was(path: Path) -> None:
    """Each in a family of its own, debt included."""
    async with opened(path) as store:
        await store.take([charge(limit, 3) for limit in EVERY_KIND if limit.meter is not TOKENS])
        await store.take([report(EVERY_KIND[1], 900)])
    async with opened(path) as store:
        assert [await used(store, limit) for limit in EVERY_KIND] == [3, 900, 3, 3]


async def test_another_amount_keeps_what_was_used(path: Path) -> None:
    """A policy that was reloaded, a tier that was changed: the counters are the same."""
    async with opened(path) as store:
        await store.take([charge(fixed(10), 7)])
        assert await used(store, fixed(5_000)) == 7
        await store.take([charge(fixed(5_000), 100)])
    assert await used_at_rest(path, fixed(20)) == 107


async def test_families_that_nobody_asks_about_are_kept(path: Path) -> None:
    """A policy without a limit for a while, and with it again: its counts were not dropped."""
    async with opened(path) as store:
        await store.take([charge(fixed(5, MONTHLY), 3)])
    for _ in range(3):
        async with opened(path) as store:
            await store.take([charge(HOURLY, who=f"c{index}") for index in range(2000)])
    assert await used_at_rest(path, fixed(5, MONTHLY)) == 3


async def test_only_what_changed_is_written(path: Path) -> None:
    """A quiet store leaves its file alone."""
    async with opened(path) as store:
        await store.take([charge(HOURLY)])
        await store.flush()
        before = contents(path)
        await store.take([charge(HOURLY, 1000)])  # denied
        assert store.unwritten == 0
        await store.flush()
        assert contents(path) == before


@pytest.mark.parametrize("limit", [fixed(9, SECONDLY), bucket(5, burst=10), sliding(9, SECONDLY)])
async def test_what_is_over_leaves_the_file(path: Path, limit: Limit) -> None:
    """Swept as others are written: the file does not grow with all that ever called."""
    clock = ManualClock(NEW_YEAR)
    store = FileCounters(path, clock, interval=3600)
    await store.start()
    for turn in range(12):
        for index in range(500):
            await store.take([charge(limit, who=f"t{turn}c{index}")])
        await store.take([charge(HOURLY)])
        await store.flush()
        clock.advance(10 * S)
    await store.close()
    assert 501 <= rows(path) < 2000, "of 6,000"
    assert await used_at_rest(path, HOURLY, clock.now) == 12


async def test_what_is_over_is_not_read(path: Path) -> None:
    """At a start in the next minute the hour goes on, and the minute begins anew."""
    async with opened(path) as store:
        await store.take([charge(HOURLY, 3), charge(fixed(10, MINUTELY), 3)])
    async with opened(path, NEW_YEAR + MINUTE) as store:
        assert await used(store, HOURLY) == 3
        assert await used(store, fixed(10, MINUTELY)) == 0


async def test_a_clock_that_went_back_between_two_runs_does_no_harm(path: Path) -> None:
    """Counts of windows to come wait for their time; those of the present window begin anew."""
    async with opened(path, NEW_YEAR + DAY) as store:
        await store.take([charge(limit, 3) for limit in EVERY_KIND])
    clock = ManualClock(NEW_YEAR + DAY - HOUR)
    store = FileCounters(path, clock, interval=3600)
    await store.start()
    seen = [await used(store, limit) for limit in EVERY_KIND]
    assert seen == [0, 3, 0, 3], "the month is the same, and a bucket drains from now"
    await store.take([charge(HOURLY, who="another")])
    clock.advance(HOUR)
    assert await used(store, HOURLY) == 3
    await store.close()
    assert await used_at_rest(path, HOURLY, NEW_YEAR + DAY) == 3


async def test_no_api_key_gets_into_the_file(path: Path) -> None:
    """Only its keyed hash does: whoever finds the file cannot call with what is in it."""
    key = "sk-live-4eC39HqLyjWDarjtT1zdp7dc"
    async with opened(path) as store:
        limiter = Limiter(
            [agent_api()],
            store,
            HASHER,
            new_lease=lambda: "lease",
            on_event=lambda event, question: None,
        )
        for entry in (f"api_key=Bearer {key}", f"api_key={key}"):
            await limiter.decide(Question("agent-api", (describe(entry),)))
        await store.flush()
        written = contents(path)
    assert set(written) == {"", "-wal"}
    for content in (*written.values(), *contents(path).values()):
        assert key.encode() not in content
        assert key.encode().hex().encode() not in content
    assert bytes(HASHER.key(key)) in written["-wal"], "it was written at all"


async def test_to_close_is_idempotent_also_at_once(path: Path) -> None:
    """Whoever closes waits until the last counts are at rest."""
    store = FileCounters(path, ManualClock(NEW_YEAR), interval=0.01)
    await store.start()
    await store.take([charge(HOURLY)])
    await asyncio.gather(store.close(), store.close(), store.flush())
    await store.close()
    assert await used_at_rest(path, HOURLY) == 1


async def test_a_store_that_never_started_closes(path: Path) -> None:
    """And leaves nothing behind."""
    await FileCounters(path, ManualClock(NEW_YEAR)).close()
    assert contents(path) == {}


async def test_a_closed_store_counts_nothing(path: Path) -> None:
    """It would be forgotten: the caller is told instead."""
    async with opened(path) as store:
        pass
    with pytest.raises(StoreUnavailableError, match="is closed"):
        await store.take([charge(HOURLY)])


async def test_a_start_that_was_given_up_frees_the_file(path: Path) -> None:
    """A cancelled start leaves no lock, and no thread at work on the file."""
    async with opened(path) as store:
        await store.take([charge(HOURLY)])
    given_up = FileCounters(path, ManualClock(NEW_YEAR))
    start = asyncio.ensure_future(given_up.start())
    await asyncio.sleep(0)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    given_up._worker.shutdown(wait=True)
    await given_up.close()
    assert await used_at_rest(path, HOURLY) == 1
