"""Records in this process: for a try, and for tests. They are gone when it ends."""

from __future__ import annotations

from bisect import bisect_right, insort
from dataclasses import replace
from typing import TYPE_CHECKING

from ratelimitd.accounts.records import CONFLICT, MOST_CHANGES, Changes, Mark, Page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratelimitd.accounts.record import Record
    from ratelimitd.model import Subject

_ORIGIN = b"memory"


class MemoryRecords:
    """See `records.Records`."""

    is_lasting = False
    is_instant = True

    def __init__(self) -> None:
        self._records: dict[Subject, Record] = {}
        self._sorted: list[Subject] = []
        self._changed: dict[Subject, int] = {}  # to versions, the latest last
        self._version = 0

    async def start(self) -> None:
        """There is nothing to open."""

    async def close(self) -> None:
        """There is nothing to let go of."""

    async def get(self, subjects: Sequence[Subject]) -> list[Record | None]:
        """See `Records.get`."""
        return [self._records.get(subject) for subject in subjects]

    async def put(self, records: Sequence[Record]) -> list[int]:
        """See `Records.put`."""
        return [self._put(record) for record in records]

    def _put(self, record: Record) -> int:
        there = self._records.get(record.subject)
        if (there.version if there else 0) != record.version:
            return CONFLICT
        if there is None:
            insort(self._sorted, record.subject)
        self._version += 1
        self._records[record.subject] = replace(record, version=self._version)
        self._changed.pop(record.subject, None)
        self._changed[record.subject] = self._version
        return self._version

    async def page(self, after: bytes, most: int, tier: str = "") -> Page:
        """See `Records.page`."""
        first = bisect_right(self._sorted, after) if after else 0
        subjects = self._sorted[first : first + most]
        found = [self._records[subject] for subject in subjects]
        is_last = first + most >= len(self._sorted)
        wanted = [record for record in found if not tier or record.tier == tier]
        return Page(wanted, b"" if is_last else subjects[-1])

    async def watch(self, mark: Mark) -> Changes:
        """See `Records.watch`."""
        if mark.origin != _ORIGIN:
            return Changes(Mark(self._version, _ORIGIN), (), lost=True)
        if mark.version == self._version:
            return Changes(mark, ())
        recent: list[Subject] = []
        for subject in reversed(self._changed):
            if self._changed[subject] <= mark.version:
                break
            recent.append(subject)
        told = recent[::-1][:MOST_CHANGES]
        return Changes(Mark(self._changed[told[-1]], _ORIGIN), told)
