"""The outbox in SQLite: in a file of its own, which several processes may use, or in memory."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ratelimitd.accounts.outbox import (
    MOST_OF_KEY,
    MOST_WAITING,
    Added,
    Message,
    alert_text,
    message_text,
    read_alert,
    read_messages,
)
from ratelimitd.accounts.sqlite_thread import MEMORY, SqliteThread, migrate
from ratelimitd.model import Subject

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from ratelimitd.accounts.alerts import Alert

APPLICATION_ID: Final = 0x726C616C
"""Tells our files from others (`rlal`)."""
MIGRATIONS: Final = (
    """CREATE TABLE alerts (
    number INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, subject BLOB NOT NULL, body TEXT NOT NULL);
CREATE INDEX of_subject ON alerts (subject, number);
CREATE TABLE changed (number INTEGER PRIMARY KEY AUTOINCREMENT, subject BLOB UNIQUE NOT NULL);
CREATE TABLE states (alert TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE seen (id TEXT PRIMARY KEY, over INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX seen_over ON seen (over);
CREATE TABLE messages (
    id TEXT PRIMARY KEY, subject BLOB NOT NULL, due INTEGER NOT NULL, claimed INTEGER NOT NULL,
    body TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX by_due ON messages (max(due, claimed));
CREATE INDEX by_subject ON messages (subject);""",
)
"""What makes each format of the one before; a file of format n has had the first n."""
_DUE = (
    "SELECT id, body FROM messages WHERE max(due, claimed) <= ? ORDER BY max(due, claimed) LIMIT ?"
)
_PAGE = 1_000


class SqliteOutbox:
    """See `outbox.Outbox`."""

    def __init__(
        self, path: str = MEMORY, *, room: int = MOST_WAITING, of_key: int = MOST_OF_KEY
    ) -> None:
        """Keep everything in the file `path`; at most `room` messages wait, `of_key` of one key."""
        self._db = SqliteThread(path, "the outbox")
        self._room, self._of_key = room, of_key

    async def start(self) -> None:
        """See `Outbox.start`."""
        await self._db.start(partial(migrate, owner=APPLICATION_ID, migrations=MIGRATIONS))

    async def close(self) -> None:
        """See `Outbox.close`."""
        await self._db.close()

    async def put(self, alert: Alert, most: int) -> bool:
        """See `Outbox.put`."""

        def work() -> bool:
            (held,) = self._row("SELECT count(*) FROM alerts WHERE subject = ?", alert.subject)
            if held >= most:
                return False
            kept = (alert.id, alert.subject, alert_text(alert))
            self._run("INSERT OR IGNORE INTO alerts (id, subject, body) VALUES (?, ?, ?)", *kept)
            self._run("INSERT OR REPLACE INTO changed (subject) VALUES (?)", alert.subject)
            return True

        return await self._db.change(work)

    async def remove(self, subject: Subject, alert: str) -> bool:
        """See `Outbox.remove`."""

        def work() -> bool:
            what = "DELETE FROM alerts WHERE subject = ? AND id = ?"
            if not self._run(what, subject, alert).rowcount:
                return False
            self._run("DELETE FROM states WHERE alert = ?", alert)
            self._run("INSERT OR REPLACE INTO changed (subject) VALUES (?)", subject)
            return True

        return await self._db.change(work)

    async def alerts(self, subject: Subject) -> list[Alert]:
        """See `Outbox.alerts`."""
        what = "SELECT id, body FROM alerts WHERE subject = ? ORDER BY number"
        rows = await self._db.do(lambda: self._run(what, subject).fetchall())
        return [each for row in rows if (each := read_alert(subject, *row)) is not None]

    async def changes(self, since: int) -> tuple[int, Sequence[Subject]]:
        """See `Outbox.changes`."""
        what = "SELECT number, subject FROM changed WHERE number > ? ORDER BY number LIMIT ?"
        rows = await self._db.do(lambda: self._run(what, since, _PAGE).fetchall())
        return (rows[-1][0] if rows else since), [Subject(row[1]) for row in rows]

    async def add(self, message: Message, over: int) -> Added:
        """See `Outbox.add`."""

        def work() -> Added:
            if self._row("SELECT count(*) FROM seen WHERE id = ?", message.id)[0]:
                return Added.KNOWN
            (of_all,) = self._row("SELECT count(*) FROM messages")
            of_one = "SELECT count(*) FROM messages WHERE subject = ?"
            if of_all >= self._room or self._row(of_one, message.subject)[0] >= self._of_key:
                return Added.FULL
            self._run("INSERT INTO seen VALUES (?, ?)", message.id, over)
            kept = (message.id, message.subject, message.created, message_text(message))
            self._run("INSERT INTO messages VALUES (?, ?, ?, 0, ?)", *kept)
            return Added.ADDED

        return await self._db.change(work)

    async def claim(self, now: int, until: int, most: int) -> list[Message]:
        """See `Outbox.claim`."""

        def work() -> list[Message]:
            self._run("DELETE FROM seen WHERE over < ?", now)
            found = self._run(_DUE, now, most).fetchall()
            for number, _ in found:
                self._run("UPDATE messages SET claimed = ? WHERE id = ?", until, number)
            return read_messages(body for _, body in found)

        return await self._db.change(work)

    async def put_off(self, message: Message, due: int, state: str) -> None:
        """See `Outbox.put_off`."""

        def work() -> None:
            what = "UPDATE messages SET due = ?, claimed = 0, body = ? WHERE id = ?"
            self._run(what, due, message_text(message), message.id)
            self._note(message.alert, state)

        await self._db.change(work)

    async def acknowledge(self, message: Message, state: str) -> None:
        """See `Outbox.acknowledge`."""

        def work() -> None:
            self._run("DELETE FROM messages WHERE id = ?", message.id)
            self._note(message.alert, state)

        await self._db.change(work)

    async def states(self, alerts: Sequence[str]) -> list[str]:
        """See `Outbox.states`."""

        def work() -> list[str]:
            rows = [self._row("SELECT max(state) FROM states WHERE alert = ?", a) for a in alerts]
            return [row[0] or "" for row in rows]

        return await self._db.do(work)

    async def waiting(self) -> int:
        """See `Outbox.waiting`."""
        count: int = (await self._db.do(lambda: self._row("SELECT count(*) FROM messages")))[0]
        return count

    def _note(self, alert: str, state: str) -> None:
        """Keep an alert's state, unless it was removed meanwhile."""
        what = "INSERT OR REPLACE INTO states SELECT id, ? FROM alerts WHERE id = ?"
        if state:
            self._run(what, state, alert)

    def _run(self, statement: str, *values: object) -> sqlite3.Cursor:
        return self._db.connection.execute(statement, values)

    def _row(self, statement: str, *values: object) -> Any:  # noqa: ANN401 - as SQLite has it
        return self._run(statement, *values).fetchone()
