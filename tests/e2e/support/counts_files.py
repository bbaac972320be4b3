"""Files of counts for the tests of the file store: whole, as a kill leaves them, and hurt."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ratelimitd.clock import ManualClock
from ratelimitd.stores.file import FileCounters
from tests.support.ops import NEW_YEAR, charge, fixed, peek

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ratelimitd.model import Limit

Make = Callable[[Path], Awaitable[None]]
"""Leaves a file of counts at a path."""
LIMIT = fixed(1_000_000)
CALLERS = 3000
"""Enough for many pages."""


@contextlib.asynccontextmanager
async def opened(path: str | Path, now: int = NEW_YEAR) -> AsyncIterator[FileCounters]:
    """A store that writes only when told and when closed."""
    store = FileCounters(path, ManualClock(now), interval=3600)
    await store.start()
    try:
        yield store
    finally:
        await store.close()


async def used(store: FileCounters, limit: Limit = LIMIT, who: str = "caller") -> int:
    """Return what somebody has used."""
    return (await store.take([peek(limit, who=who)])).standings[0].before


async def used_at_rest(path: Path, limit: Limit = LIMIT, now: int = NEW_YEAR) -> int:
    """Return what the caller has used by the file."""
    async with opened(path, now) as store:
        return await used(store, limit)


async def charge_many(store: FileCounters, hits: int = 1) -> None:
    """Charge the caller and many others."""
    for who in ("caller", *(f"c{index}" for index in range(CALLERS))):
        await store.take([charge(LIMIT, hits, who=who)])


async def killed(path: Path) -> None:
    """Leave at `path` what a killed process would: a database, and a log that it needs."""
    other = path.with_name("original.db")
    async with opened(other) as store:
        await charge_many(store)
        await store.flush()
        await charge_many(store)
        await store.flush()
        for suffix in ("", "-wal"):
            shutil.copy(f"{other}{suffix}", f"{path}{suffix}")


async def stopped(path: Path) -> None:
    """Leave a whole file of counts."""
    async with opened(path) as store:
        await charge_many(store)


def contents(path: Path) -> dict[str, bytes]:
    """Return the database and its log, by what their names add to the path's.

    To look at a database, SQLite makes an empty log.
    """
    found = {suffix: path.with_name(path.name + suffix) for suffix in ("", "-wal")}
    read = {suffix: each.read_bytes() for suffix, each in found.items() if each.exists()}
    return {suffix: content for suffix, content in read.items() if content or not suffix}


def overwrite(path: Path) -> None:
    """Put something else in the file's place."""
    path.write_bytes(b"domain: agent-api\n" * 100)


def cut(path: Path) -> None:
    """Take away the second half."""
    os.truncate(path, path.stat().st_size // 2)


def cut_short(path: Path) -> None:
    """Leave less than a header."""
    os.truncate(path, 50)


def cut_off(path: Path) -> None:
    """Leave a name only."""
    os.truncate(path, 0)


def lose(path: Path) -> None:
    """Leave not even that."""
    path.unlink()


def scribble(path: Path) -> None:
    """Write noise into the middle of a page of counters."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xa5" * 3000)


def change(path: Path, statement: str) -> None:
    """Change a database behind our back."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(statement)
