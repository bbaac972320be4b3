"""How families and counters look as rows of the counts file, and how they get into it.

Knows the columns; files, transactions and threads are `journal`'s.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final

from ratelimitd.model import Algorithm, Limit, Meter, MeterKind, Unit, Window

if TYPE_CHECKING:
    from collections.abc import Iterable

FIELDS: Final = 5
"""Values in a `Row`."""
KEY: Final = 1
"""Which of them is the key."""
REMEMBERED: Final = 0
"""The number of the family without a name, whose keys are ids of calls."""
UNFIT = (OverflowError, ValueError, TypeError, sqlite3.IntegrityError)
"""What is raised by a value that no row can hold, such as the end of a window past 64 bits."""


_NO_WINDOW = Window.of(Unit.SECOND)  # in the columns of a family of leases, and of no meaning there


def stage(connection: sqlite3.Connection, family: int, chunks: Iterable[list[int | bytes]]) -> int:
    """Put rows where the next statement finds them; return how many no row can hold.

    One such row fails alone: the others of its chunk are staged one by one.
    """
    refused = 0
    for chunk in chunks:
        try:
            _insert(connection, family, chunk)
        except UNFIT:
            for start in range(0, len(chunk), FIELDS):
                try:
                    _insert(connection, family, chunk[start : start + FIELDS])
                except UNFIT:
                    refused += 1
    return refused


def _insert(connection: sqlite3.Connection, family: int, chunk: list[int | bytes]) -> None:
    rows = ",".join(["(?1,?,?,?,?,?)"] * (len(chunk) // FIELDS))
    connection.execute(f"INSERT INTO staged VALUES {rows}", [family, *chunk])  # noqa: S608 - question marks


def insert_family(connection: sqlite3.Connection, family: str, limit: Limit) -> int:
    """Insert a family, and return its number."""
    window = limit.window or _NO_WINDOW
    number = connection.execute(
        "INSERT INTO families VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)",
        (
            family,
            limit.algorithm.value,
            window.name,
            window.length_us,
            window.months,
            window.unit and window.unit.value,
            window.anchor_day,
        ),
    ).lastrowid
    assert number is not None
    return number


def limit_of(
    family: str,
    algorithm: str,
    name: str,
    length_us: int,
    months: int,
    unit: str | None,
    anchor_day: int,
) -> Limit:
    """Return a limit that opens a family's table; what it allows is the policy's to say."""
    if algorithm == Algorithm.LEASE.value:
        meter = Meter(name="at rest", kind=MeterKind.LEASE, lease_us=1)
        return Limit(name=family, meter=meter, amount=0, window=None, algorithm=Algorithm.LEASE)
    bucket = algorithm == Algorithm.TOKEN_BUCKET.value
    return Limit(
        name=family,
        meter=Meter(name="at rest", kind=MeterKind.PREPAID),
        amount=int(bucket),
        window=Window(
            name=name,
            length_us=length_us,
            months=months,
            unit=Unit(unit) if unit else None,
            anchor_day=anchor_day,
        ),
        algorithm=Algorithm(algorithm),
        burst=int(bucket),
    )
