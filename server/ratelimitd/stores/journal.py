"""The counts at rest: an SQLite file in WAL mode, one row for each counter.

Owns schema, reading, writing and sweeping. Synchronous; all calls of one `Journal` come from one
thread, which is not the event loop's. Knows nothing of who decides, and when it writes.

A row is the latest state of a counter; its window turning replaces it. Each lease has a row, its
key behind its counter's, and so has each id that is remembered (family `REMEMBERED`). What is over
(`over`, the first instant at which a state no longer matters) is swept by and by, never at once.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING, Final, NamedTuple

from ratelimitd.stores import custody
from ratelimitd.stores.rows import FIELDS, REMEMBERED, UNFIT, insert_family, limit_of, stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from ratelimitd.model import Limit
    from ratelimitd.stores.memory.table import Row

SWEPT_PER_ROW: Final = 2
"""Rows looked at for each row written: what is over can never outnumber the rest for long."""
_LEAST_SWEPT = 1000

_SCHEMA = {
    "families": """CREATE TABLE families (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    algorithm TEXT NOT NULL,
    window_name TEXT NOT NULL,
    length_us INTEGER NOT NULL,
    months INTEGER NOT NULL,
    unit TEXT,
    anchor_day INTEGER NOT NULL
)""",
    "counts": """CREATE TABLE counts (
    family INTEGER NOT NULL,
    start INTEGER NOT NULL,
    key BLOB NOT NULL,
    first INTEGER NOT NULL,
    second INTEGER NOT NULL,
    over INTEGER NOT NULL,
    PRIMARY KEY (family, key)
) WITHOUT ROWID""",
}
# What the structure of a file cannot tell. (As a CHECK, SQLite would ignore it in read-only files.)
_UNSOUND = """SELECT count(*) FROM counts WHERE (
    typeof(key) = 'blob' AND typeof(start) = 'integer' AND typeof(over) = 'integer'
    AND typeof(first) = 'integer' AND typeof(second) = 'integer' AND first >= 0 AND second >= 0
) IS NOT TRUE"""
_SETTINGS = (
    "PRAGMA synchronous = FULL",  # a power cut, too, loses no more than a kill
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -32000",  # KiB
    f"PRAGMA journal_size_limit = {64 << 20}",
    "CREATE TEMP TABLE staged (family, start, key, first, second, over)",
)
# Nothing is wrong with the file where SQLite says one of these.
_PASSING = {
    *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR),
    *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOMEM),
}
_UNNAMED = {"": REMEMBERED}
_FIRST = (0, b"")
_LAST = (2**63 - 1, b"")
_PATIENCE = 1.0  # seconds, for somebody who looks into the file with another tool


class Page(NamedTuple):
    """Changed counters of one family."""

    family: str
    limit: Limit | None
    """None for ids."""
    chunks: list[list[int | bytes]]
    """Rows, flattened: `FIELDS` values each. A chunk is one statement, because the thread that
    writes has to win the interpreter's lock from a busy event loop for every statement."""


class Journal:
    """One file, opened and closed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._families: dict[str, int] = dict(_UNNAMED)
        self._swept = _FIRST

    def open(self) -> None:
        """Open the file, making it where there is none.

        Raises `StoreUnavailableError`, and `DamagedFileError` before anything in it was changed.
        """
        with self._judging():
            if not custody.exists(self._path):
                self._make()
            self._inspect()
            self._inode = self._path.stat().st_ino
            self._connection = _connect(self._path)
            for setting in _SETTINGS:
                self._connection.execute(setting)
            _upgrade(self._connection)

    def load(self, now: int, receive: Callable[[str, Limit | None, Iterable[Row]], None]) -> None:
        """Hand over the rows of each family that are not over, and last the ids, without a limit.

        Raises `StoreUnavailableError`, `DamagedFileError`.
        """
        connection = self._opened()
        with self._judging():
            for number, name, *identity in connection.execute("SELECT * FROM families").fetchall():
                self._families[name] = number
                receive(name, limit_of(name, *identity), _rows(connection, number, now))
            receive("", None, _rows(connection, REMEMBERED, now))

    def write(self, pages: Sequence[Page]) -> int:
        """Write all pages, or nothing; return how many counters no row can hold.

        Raises `sqlite3.Error`, `OSError`.
        """
        connection = self._opened()
        self._check_presence()
        families = dict(self._families)
        refused = 0
        connection.execute("BEGIN IMMEDIATE")
        try:
            for page in pages:
                try:
                    if page.limit is not None and page.family not in families:
                        families[page.family] = insert_family(connection, page.family, page.limit)
                except UNFIT:
                    refused += sum(map(len, page.chunks)) // FIELDS
                else:
                    refused += stage(connection, families[page.family], page.chunks)
            # In the order of the keys, each leaf of the tree is touched once.
            connection.execute("INSERT OR REPLACE INTO counts SELECT * FROM staged ORDER BY 1, 3")
            connection.execute("DELETE FROM staged")
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise
        self._families = families
        return refused

    def sweep(self, now: int, written: int) -> None:
        """Delete what is over among the next rows, as many as `written` asks for.

        After the last row, delete the families that have none left.
        Raises `sqlite3.Error`.
        """
        connection = self._opened()
        span = max(_LEAST_SWEPT, written * SWEPT_PER_ROW)
        end = connection.execute(
            "SELECT family, key FROM counts WHERE (family, key) > (?, ?)"
            " ORDER BY family, key LIMIT 1 OFFSET ?",
            (*self._swept, span - 1),
        ).fetchone()
        connection.execute(
            "DELETE FROM counts WHERE (family, key) > (?, ?) AND (family, key) <= (?, ?)"
            " AND over <= ?",
            (*self._swept, *(end or _LAST), now),
        )
        self._swept = end or _FIRST
        if end is None:
            connection.execute(
                "DELETE FROM families"
                " WHERE NOT EXISTS (SELECT 1 FROM counts WHERE family = families.id)"
            )
            found = connection.execute("SELECT name, id FROM families").fetchall()
            self._families = {**_UNNAMED, **dict(found)}

    def close(self) -> None:
        """Let go of the file; SQLite folds its log into it where it can. Idempotent."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _opened(self) -> sqlite3.Connection:
        assert self._connection is not None
        return self._connection

    def _make(self) -> None:
        """Make the file under another name: a crash must not leave half of one under its own."""
        making = self._path.with_name(f"{self._path.name}.making")
        for suffix in ("", *custody.COMPANIONS):
            making.with_name(making.name + suffix).unlink(missing_ok=True)
        # SQLite gives its companions the mode of the database.
        os.close(os.open(making, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        with contextlib.closing(_connect(making)) as connection:
            # Before WAL, so that these are in the file itself whatever happens to its log.
            connection.execute(f"PRAGMA application_id = {custody.APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {custody.FORMAT}")
            for statement in _SCHEMA.values():
                connection.execute(statement)
            connection.execute("PRAGMA journal_mode = WAL")
        making.rename(self._path)

    def _inspect(self) -> None:
        """Look whether the file is whole and ours, through a connection that cannot change it."""
        with contextlib.closing(_connect(self._path, "?mode=ro")) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            custody.check_format(self._path, version)
            if not 1 <= version <= custody.FORMAT:
                raise custody.DamagedFileError(f"its format is {version}")
            schema = connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql NOT NULL")
            if dict(schema.fetchall()) != _SCHEMA:
                raise custody.DamagedFileError("its tables are not ours")
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise custody.DamagedFileError(verdict.replace("\n", " "))
            (unsound,) = connection.execute(_UNSOUND).fetchone()
            if unsound:
                raise custody.DamagedFileError(f"{unsound} of its rows hold no counts")

    def _check_presence(self) -> None:
        """Refuse to write into a file that nobody will find again."""
        if self._path.stat().st_ino != self._inode:
            msg = "the file was replaced while in use"
            raise FileNotFoundError(msg)

    @contextlib.contextmanager
    def _judging(self) -> Iterator[None]:
        """Tell a damaged file from one that cannot be read at present."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
            if code & 0xFF in _PASSING:
                raise custody.unavailable(self._path, f"SQLite says: {error}") from error
            raise custody.DamagedFileError(str(error)) from error
        except (ValueError, TypeError) as error:
            raise custody.DamagedFileError(f"a family is not one: {error}") from error
        except OSError as error:
            raise custody.unavailable(self._path, error.strerror or str(error)) from error


def _rows(connection: sqlite3.Connection, family: int, now: int) -> Iterable[Row]:
    return connection.execute(
        "SELECT start, key, first, second, over FROM counts WHERE family = ? AND over > ?",
        (family, now),
    )


def _upgrade(connection: sqlite3.Connection) -> None:
    """Make a file of an older format one of this: the tables are the same, rows are new."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version != custody.FORMAT:
        connection.execute(f"PRAGMA user_version = {custody.FORMAT}")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _connect(path: Path, mode: str = "") -> sqlite3.Connection:
    # The cache of statements would keep large ones of every length.
    return sqlite3.connect(
        path.as_uri() + mode, uri=True, isolation_level=None, timeout=_PATIENCE, cached_statements=4
    )
