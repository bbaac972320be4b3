"""What the file store does with states that cannot be written, and with families that are over."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from ratelimitd.clock import ManualClock
from ratelimitd.model import Window
from ratelimitd.stores.file import FileCounters
from ratelimitd.stores.memory.paged import FixedTable
from tests.e2e.support.counts_files import LIMIT, opened, used, used_at_rest
from tests.e2e.support.waiting import wait_until
from tests.support.ops import MINUTE, MINUTELY, NEW_YEAR, S, charge, fixed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from ratelimitd.model import Limit
    from ratelimitd.stores.memory.table import Row

FAR = fixed(10, Window.lasting(5 * 10**12 * S))
"""Its window ends when 64 bits of microseconds do not reach."""
ENDLESS = fixed(10, Window.lasting(10**14 * S))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the counts are."""
    return tmp_path / "counts.db"


def families(path: Path) -> int:
    """Return how many families the file has."""
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM families").fetchone()[0])


@pytest.mark.parametrize("limit", [FAR, ENDLESS], ids=["row", "family"])
async def test_what_no_row_can_hold_keeps_nothing_else_from_the_file(
    path: Path, limit: Limit, caplog: pytest.LogCaptureFixture
) -> None:
    """One state that does not fit fails alone, is counted, and is told of once."""
    async with opened(path, now=2**62 + 2**61) as store:
        for _ in range(2):
            await store.take([charge(limit), charge(LIMIT)])
            assert await store.flush()
        assert (store.refused, store.write_errors, store.unwritten) == (2, 0, 0)
        assert store.figures()["store_refused_total"] == 2
    assert await used_at_rest(path, now=2**62 + 2**61) == 2
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_a_family_that_cannot_be_read_keeps_nothing_else_from_the_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of one table is not the others', and does not end the writing."""
    async with opened(path) as store:
        await store.take([charge(fixed(10, MINUTELY)), charge(LIMIT)])
        broken = store._memory.tables[charge(fixed(10, MINUTELY)).counter.family]
        read = FixedTable.rows

        def rows(self: FixedTable, keys: Iterable[bytes], now: int) -> Iterator[Row]:
            if self is broken:
                raise OverflowError("the date is out of range")
            return read(self, keys, now)

        monkeypatch.setattr(FixedTable, "rows", rows)
        assert await store.flush()
        assert (store.refused, store.unwritten) == (1, 0)
    assert await used_at_rest(path) == 1


async def test_the_writer_goes_on_after_what_nobody_expected(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception is told and counted; the next writing has its turn, and so has the close."""
    store = FileCounters(path, ManualClock(NEW_YEAR), interval=0.01)
    await store.start()
    with monkeypatch.context() as patch:
        patch.setattr(store, "_collect", None)
        await wait_until(lambda: store.write_errors >= 2, description="two writings failed")
    assert store.figures()["store_write_errors_total"] >= 2
    await store.take([charge(LIMIT)])
    await wait_until(lambda: not store.unwritten, description="it was written")
    await store.close()
    assert await used_at_rest(path) == 1
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.WARNING]


async def test_a_store_lets_go_of_its_file_though_the_last_writing_broke(path: Path) -> None:
    """Whoever comes next can open it."""
    async with opened(path) as store:
        await store.take([charge(LIMIT)])
        store._collect = None  # type: ignore[method-assign,assignment]
    assert await used_at_rest(path) == 0


async def test_a_family_that_is_over_leaves_the_file(path: Path) -> None:
    """A limit that no policy has any more leaves no row of any kind, and can come back."""
    clock = ManualClock(NEW_YEAR)
    store = FileCounters(path, clock, interval=3600)
    await store.start()
    gone = fixed(10, Window.lasting(7 * S))
    await store.take([charge(gone)])
    await store.flush()
    assert families(path) == 1
    clock.advance(2 * MINUTE)
    for _ in range(2):
        await store.take([charge(LIMIT)])
        await store.flush()
    assert families(path) == 1
    await store.take([charge(gone, 3)])
    await store.close()
    assert families(path) == 2
    assert await used_at_rest(path, gone, clock.now) == 3


async def test_a_family_that_is_dropped_while_it_is_written_does_no_harm(path: Path) -> None:
    """Sweeping and writing take turns on one loop."""
    clock = ManualClock(NEW_YEAR)
    store = FileCounters(path, clock, interval=3600)
    await store.start()
    for number in range(5000):
        await store.take([charge(fixed(10, MINUTELY), who=f"c{number}"), charge(LIMIT)])
    writing = asyncio.create_task(store.flush())
    await asyncio.sleep(0)
    clock.advance(2 * MINUTE)
    await store.take([charge(LIMIT)])
    assert await writing
    assert await used(store) == 5001
    await store.close()
