"""Ids of calls that must not count twice, each until an instant of its own; bounded.

Knows no clock, and not what the calls did.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ratelimitd.stores.memory.table import Row

MOST: Final = 500_000
"""Ids at a time. About 250 bytes each."""


class Remembered:
    """Ids, by when they are forgotten."""

    __slots__ = ("_ends", "_most", "_until", "dirty", "dropped")

    limit = None

    def __init__(self, most: int = MOST, *, notes_changes: bool = False) -> None:
        self._most = most
        self._until: dict[bytes, int] = {}
        self._ends: list[tuple[int, bytes]] = []
        self.dirty: set[bytes] | None = set() if notes_changes else None
        """Ids since somebody who writes them down last looked; None where nobody does."""
        self.dropped = 0
        """Ids that were forgotten before their time."""

    def __len__(self) -> int:
        return len(self._until)

    def knows(self, request_id: bytes, now: int) -> bool:
        """Say whether an id is remembered."""
        return self._until.get(request_id, now) > now

    def remember(self, request_id: bytes, until: int, now: int) -> None:
        """Remember an id that is not known."""
        self.forget(now)
        if len(self._until) >= self._most:
            del self._until[heapq.heappop(self._ends)[1]]
            self.dropped += 1
        self._until[request_id] = until
        heapq.heappush(self._ends, (until, request_id))
        if self.dirty is not None:
            self.dirty.add(request_id)

    def forget(self, now: int) -> None:
        """Let go of those whose time is over."""
        ends = self._ends
        while ends and ends[0][0] <= now:
            del self._until[heapq.heappop(ends)[1]]

    def rows(self, ids: Iterable[bytes], now: int) -> Iterator[Row]:
        """Yield those that are still remembered as they are at rest."""
        for request_id in ids:
            until = self._until.get(request_id, now)
            if until > now:
                yield 0, request_id, 0, 0, until

    def restore(self, rows: Iterable[Row], now: int) -> None:
        """Take in what was at rest."""
        for _, request_id, _, _, until in rows:
            if until > now and request_id not in self._until:
                self.remember(request_id, until, now)
