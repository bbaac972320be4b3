"""One SQLite database and the thread that uses it: work is done in the order it was asked for.

Knows no tables. Each change is on the disk before it is answered, if there is a disk.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ratelimitd.errors import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    T = TypeVar("T")

MEMORY = ":memory:"
"""The place of a database that ends with its process."""
_PATIENCE = 5.0  # seconds, for another process that writes


class SqliteThread:
    """A database; `start` it before the first work."""

    def __init__(self, path: Path | str, what: str) -> None:
        """Use the file `path`, or `MEMORY`; `what` it is, in errors: `the registry`."""
        self._path = str(path)
        self._what = what
        self._thread = ThreadPoolExecutor(1, "ratelimitd-sqlite")
        self._connection: sqlite3.Connection | None = None

    @property
    def connection(self) -> sqlite3.Connection:
        """In autocommit mode; for the thread's work alone. Raises `OSError` when closed."""
        if self._connection is None:
            msg = "it is closed"
            raise OSError(msg)
        return self._connection

    async def start(self, prepare: Callable[[sqlite3.Connection], None]) -> None:
        """Open the database, which `prepare` makes ready. Raises `StoreUnavailableError`."""
        await self.do(lambda: self._open(prepare))

    async def close(self) -> None:
        """Let go of it. Idempotent."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, connection.close)
        self._thread.shutdown()

    async def do(self, work: Callable[[], T]) -> T:
        """Do it in the thread. Raises `StoreUnavailableError`."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except (sqlite3.Error, OSError, ValueError, RuntimeError) as error:
            msg = f"{self._what} {self._path} cannot be used: {error}"
            raise StoreUnavailableError(msg) from error

    async def change(self, work: Callable[[], T]) -> T:
        """Do it in the thread as one transaction, or not at all. Raises `StoreUnavailableError`."""

        def transaction() -> T:
            connection = self.connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                done = work()
                connection.execute("COMMIT")
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            return done

        return await self.do(transaction)

    def _open(self, prepare: Callable[[sqlite3.Connection], None]) -> None:
        if self._path != MEMORY and not Path(self._path).exists():
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        # Its thread is ours; another one closes it.
        connection = sqlite3.connect(
            self._path, isolation_level=None, timeout=_PATIENCE, check_same_thread=False
        )
        try:
            prepare(connection)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
        except BaseException:
            connection.close()
            raise
        self._connection = connection


def migrate(connection: sqlite3.Connection, owner: int, migrations: Sequence[str]) -> None:
    """Bring a file to the present format. Raises `ValueError` for one that is not the owner's.

    `owner` is the application id of such files. A file of format n has had the first n scripts.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _format(connection, owner, len(migrations))
        for script in migrations[version:]:
            for statement in filter(str.strip, script.split(";")):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {owner}")
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _format(connection: sqlite3.Connection, owner: int, newest: int) -> int:
    (found,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if (found != owner and tables) or version > newest:
        msg = "it was made by a newer release" if found == owner else "it is not ours"
        raise ValueError(msg)
    return int(version)
