"""Records in an SQLite file, which several processes may use."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ratelimitd.accounts.record import dumps, loads
from ratelimitd.accounts.records import CONFLICT, MOST_CHANGES, Changes, Mark, Page
from ratelimitd.accounts.sqlite_thread import SqliteThread, migrate
from ratelimitd.model import Subject

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ratelimitd.accounts.record import Record

APPLICATION_ID: Final = 0x726C6B79
"""Tells our files from others (`rlky`)."""
MIGRATIONS: Final = (
    """CREATE TABLE records (
    subject BLOB PRIMARY KEY,
    version INTEGER NOT NULL UNIQUE,
    tier TEXT NOT NULL,
    body TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX by_tier ON records (tier, subject);""",
)
"""What makes each format of the one before; a file of format n has had the first n."""
_PUT = """INSERT INTO records VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET version = excluded.version, tier = excluded.tier, body = excluded.body"""


class FileRecords:
    """See `records.Records`."""

    is_lasting = True
    is_instant = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = SqliteThread(path, "the registry")
        self._origin = b""

    async def start(self) -> None:
        """See `Records.start`."""
        await self._db.start(partial(migrate, owner=APPLICATION_ID, migrations=MIGRATIONS))
        self._origin = b"file:%d" % self._path.stat().st_ino

    async def close(self) -> None:
        """See `Records.close`."""
        await self._db.close()

    async def get(self, subjects: Sequence[Subject]) -> list[Record | None]:
        """See `Records.get`."""
        return await self._db.do(lambda: [self._get(subject) for subject in subjects])

    async def put(self, records: Sequence[Record]) -> list[int]:
        """See `Records.put`."""
        return await self._db.change(lambda: self._put(records))

    async def page(self, after: bytes, most: int, tier: str = "") -> Page:
        """See `Records.page`."""
        return await self._db.do(lambda: self._page(after, most, tier))

    async def watch(self, mark: Mark) -> Changes:
        """See `Records.watch`."""
        return await self._db.do(lambda: self._watch(mark))

    def _get(self, subject: bytes) -> Record | None:
        row = self._db.connection.execute(
            "SELECT subject, version, body FROM records WHERE subject = ?", (subject,)
        )
        found = row.fetchone()
        return None if found is None else loads(*found)

    def _put(self, records: Sequence[Record]) -> list[int]:
        connection = self._db.connection
        (latest,) = connection.execute("SELECT max(version) FROM records").fetchone()
        told = []
        for record in records:
            row = connection.execute(
                "SELECT version FROM records WHERE subject = ?", (record.subject,)
            ).fetchone()
            if (row[0] if row else 0) != record.version:
                told.append(CONFLICT)
                continue
            latest = (latest or 0) + 1
            connection.execute(_PUT, (record.subject, latest, record.tier, dumps(record)))
            told.append(latest)
        return told

    def _page(self, after: bytes, most: int, tier: str) -> Page:
        where, values = "subject > ?", [after, most]
        if tier:
            where, values = f"{where} AND tier = ?", [after, tier, most]
        rows: list[Any] = self._db.connection.execute(
            f"SELECT subject, version, body FROM records WHERE {where}"  # noqa: S608 - ours
            " ORDER BY subject LIMIT ?",
            values,
        ).fetchall()
        return Page([loads(*row) for row in rows], rows[-1][0] if len(rows) == most else b"")

    def _watch(self, mark: Mark) -> Changes:
        if mark.origin != self._origin:
            (latest,) = self._db.connection.execute("SELECT max(version) FROM records").fetchone()
            return Changes(Mark(latest or 0, self._origin), (), lost=True)
        rows = self._db.connection.execute(
            "SELECT subject, version FROM records WHERE version > ? ORDER BY version LIMIT ?",
            (mark.version, MOST_CHANGES),
        ).fetchall()
        if not rows:
            return Changes(mark, ())
        return Changes(Mark(rows[-1][1], self._origin), [Subject(row[0]) for row in rows])
