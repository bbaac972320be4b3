"""Leases and remembered ids over a restart of the process that keeps its counts in a file."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

import pytest

from ratelimitd.stores.memory import leases as lease_tables
from tests.e2e.support import counts_files as files
from tests.e2e.support.counts_files import opened
from tests.support.ops import (
    DAY,
    HOUR,
    MINUTE,
    NEW_YEAR,
    acquire,
    fixed,
    leases,
    peek,
    release,
    renew,
    report,
)

if TYPE_CHECKING:
    from pathlib import Path

    from ratelimitd.stores.file import FileCounters

LIMIT = leases(2)
MANY = leases(5_000)
LIFETIME = 15 * MINUTE


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the counts are."""
    return tmp_path / "counts.db"


async def held(store: FileCounters, who: str = "caller") -> int:
    """Return how many leases somebody holds."""
    return (await store.take([peek(LIMIT, who=who)])).standings[0].before


def rows(path: Path) -> int:
    """Return how many rows are at rest."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM counts").fetchone()
    return int(count)


async def test_a_lease_is_held_over_a_restart(path: Path) -> None:
    """Envoy's requests run on meanwhile: a third must not be let in."""
    async with opened(path) as store:
        for name in "ab":
            assert (await store.take([acquire(LIMIT, name)])).passed
        await store.take([acquire(LIMIT, "c", who="another", bounded=True)])
    async with opened(path, NEW_YEAR + MINUTE) as store:
        denied = await store.take([acquire(LIMIT, "d")])
        assert (denied.passed, denied.standings[0].before) == (False, 2)
        assert denied.standings[0].reset_at == NEW_YEAR + LIFETIME
        assert (await store.take([release(LIMIT, "a")])).standings[0].after == 1
        assert (await store.take([acquire(LIMIT, "d")])).passed
        assert await held(store, "another") == 1


async def test_a_lease_at_rest_ends_in_its_time(path: Path) -> None:
    """To the microsecond; one that was renewed later, and one that is renewed after the start."""
    async with opened(path) as store:
        await store.take([acquire(LIMIT, "a"), acquire(LIMIT, "b")])
    async with opened(path, NEW_YEAR + MINUTE) as store:
        assert (await store.take([renew(LIMIT, "b")])).standings[0].passes
    for now, count in ((LIFETIME - 1, 2), (LIFETIME, 1), (LIFETIME + MINUTE, 0)):
        async with opened(path, NEW_YEAR + now) as store:
            assert await held(store) == count
            assert (await store.take([renew(LIMIT, "none")])).standings[0].passes is False


async def test_a_lease_that_was_given_back_is_not_held_again(path: Path) -> None:
    """Whether it had been written down by then or not."""
    async with opened(path) as store:
        await store.take([acquire(LIMIT, "written")])
        await store.flush()
        await store.take([acquire(LIMIT, "not"), release(LIMIT, "written")])
        await store.take([release(LIMIT, "not")])
    async with opened(path) as store:
        assert await held(store) == 0


async def test_a_request_that_ends_before_the_next_writing_costs_the_file_nothing(
    path: Path,
) -> None:
    """Most do: what came and went in between leaves no row, and no mark to write one."""
    async with opened(path) as store:
        for number in range(100):
            await store.take([acquire(LIMIT, f"{number}")])
            await store.take([release(LIMIT, f"{number}")])
        assert store.unwritten == 0
    assert rows(path) == 0


async def test_only_the_leases_that_changed_are_written(path: Path) -> None:
    """A counter that holds thousands is not written anew for each that comes or goes."""
    async with opened(path) as store:
        for number in range(3_000):
            await store.take([acquire(MANY, f"{number}")])
        await store.flush()
        await store.take([release(MANY, "17"), renew(MANY, "18"), acquire(MANY, "new")])
        await store.take([acquire(MANY, "another")])
        assert store.unwritten == 4
    async with opened(path) as store:
        assert (await store.take([peek(MANY)])).standings[0].before == 3_001
        found = [
            (await store.take([renew(MANY, name)])).standings[0].passes
            for name in ("17", "18", "2999", "new", "another")
        ]
        assert found == [False, True, True, True, True]


async def test_a_file_that_cannot_be_written_costs_no_memory_for_leases(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That they were given back is noted up to a bound; beyond it they count until they end."""
    monkeypatch.setattr(lease_tables, "MOST_GONE", 10)
    async with opened(path) as store:
        for number in range(50):
            await store.take([acquire(MANY, f"{number}")])
        await store.flush()
        for number in range(50):
            await store.take([release(MANY, f"{number}")])
        assert store.unwritten == 10
    async with opened(path) as store:
        assert (await store.take([peek(MANY)])).standings[0].before == 40


async def test_leases_end_although_the_clock_went_back(path: Path) -> None:
    """A lease of next year lives its lifetime, and not for a year."""
    async with opened(path, NEW_YEAR + 365 * DAY) as store:
        await store.take([acquire(LIMIT, "a")])
    async with opened(path) as store:
        standing = (await store.take([peek(LIMIT)])).standings[0]
        assert (standing.before, standing.reset_at) == (1, NEW_YEAR + LIFETIME)


async def test_ids_are_remembered_over_a_restart(path: Path) -> None:
    """What was settled before it is not settled again after it, and is forgotten in its time."""
    call = [report(fixed(9), 3)]
    async with opened(path) as store:
        assert not (await store.take(call, b"one", 2 * HOUR)).repeated
    for now, repeated in ((0, True), (2 * HOUR - 1, True), (2 * HOUR, False)):
        async with opened(path, NEW_YEAR + now) as store:
            assert (await store.take(call, b"one", HOUR)).repeated is repeated
            assert not (await store.take(call, b"not seen")).repeated


@pytest.mark.parametrize("make", [files.stopped, files.killed])
async def test_a_file_of_the_first_format_is_read_and_becomes_one_of_this(
    path: Path, make: files.Make
) -> None:
    """Its counts go on; an older version refuses the file from then on, by its header alone."""
    await make(path)
    files.change(path, "PRAGMA user_version = 1")
    before = await files.used_at_rest(path)
    assert before > 0
    async with opened(path) as store:
        assert files.contents(path)[""][60:64] == (2).to_bytes(4, "big")
        await store.take([acquire(LIMIT, "a")])
    async with opened(path) as store:
        assert (await held(store), await files.used(store)) == (1, before)
