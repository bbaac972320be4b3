"""Tables of windows: one page of counts for a window, dropped whole when the window turns.

The arithmetic is `algorithms/`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ratelimitd.algorithms import fixed_window, sliding_window
from ratelimitd.model import Span, make_standing
from ratelimitd.stores.memory.table import Usual

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ratelimitd.model import Counter, Limit, Op, Standing
    from ratelimitd.stores.memory.table import Row


class FixedTable(Usual):
    """Fixed windows: one page of counts, dropped whole when the window turns."""

    __slots__ = (
        "_ahead",
        "_end",
        "_room",
        "_start",
        "counts",
        "dirty",
        "limit",
        "strangers",
        "window",
    )

    def __init__(self, limit: Limit, room: int) -> None:
        assert limit.window is not None
        self.limit = limit
        self.window = limit.window
        self._start = self._end = 0
        self._ahead: dict[int, dict[bytes, int]] = {}
        self.counts: dict[bytes, int] = {}
        self.strangers = 0
        self.dirty: set[bytes] | None = None
        self._room = room

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def states(self) -> int:
        return len(self.counts)

    def is_over(self, now: int) -> bool:
        return now >= self._end and not self._ahead

    def _turn(self, now: int) -> None:
        self._start, self._end = self.window.span(now)
        self.counts = {}
        if self._ahead:
            self._catch_up()
        self.strangers = len(self.counts)

    def _catch_up(self) -> None:
        """Begin a window with what was counted in it before the host's clock went back."""
        self.counts = self._ahead.get(self._start, {})
        self._ahead = {start: page for start, page in self._ahead.items() if start > self._start}
        if self.dirty is not None:
            self.dirty.update(self.counts)

    def knows(self, key: bytes, now: int) -> bool:
        if now >= self._end:
            self._turn(now)
        return key in self.counts

    def judge(self, counter: Counter, limit: Limit, need: int, now: int) -> Standing:
        if now >= self._end:
            self._turn(now)
        used = self.counts.get(counter.key)
        if used is None:
            used = 0
            if counter.bounded and self.strangers >= self._room:
                used = self.counts.get(counter.overflow, 0)
        return fixed_window.judge(limit, used, need, self._end, now)

    def charge(self, op: Op, now: int, lease: str) -> None:
        del lease
        key = op[1].key
        if key not in self.counts:
            self.add(op, op[3], now)
            return
        self.counts[key] += op[3]  # fits its limit: there is nothing to saturate
        if self.dirty is not None:
            self.dirty.add(key)

    def restate(self, op: Op, standing: Standing, now: int) -> Standing:
        used = self.counts.get(op[1].key)
        if used is None:
            if op[1].bounded:  # may share another's
                return Usual.restate(self, op, standing, now)
            used = 0
        return make_standing((standing[0], True, used, used, standing[4], standing[5]))

    def add(self, op: Op, hits: int, now: int) -> None:
        if now >= self._end:
            self._turn(now)
        key = op.counter.key
        used = self.counts.get(key)
        if used is None:
            if op.counter.bounded:
                if self.strangers >= self._room:
                    key = op.counter.overflow
                else:
                    self.strangers += 1
            used = self.counts.get(key, 0)
        self.counts[key] = fixed_window.add(used, hits)
        if self.dirty is not None:
            self.dirty.add(key)

    def take_back(self, op: Op, now: int) -> None:
        if now >= self._end:
            self._turn(now)
        key = op.counter.key
        if key not in self.counts and op.counter.bounded and self.strangers >= self._room:
            key = op.counter.overflow
        if not 0 < op.as_of < self._start:
            self._reduce(self.counts, key, op.hits)

    def _reduce(self, page: dict[bytes, int], key: bytes, hits: int) -> None:
        """Take hits off a count, if there is one."""
        used = page.get(key)
        if used is not None:
            page[key] = fixed_window.add(used, -hits)
            if self.dirty is not None:
                self.dirty.add(key)

    def rows(self, keys: Iterable[bytes], now: int) -> Iterator[Row]:
        if now >= self._end:
            return
        for key in keys:
            used = self.counts.get(key)
            if used is not None:
                yield self._start, key, used, 0, self._end

    def restore(self, rows: Iterable[Row], now: int) -> None:
        if now >= self._end:
            self._turn(now)
        for start, key, used, _, _ in rows:
            if start == self._start:
                self.counts[key] = used
            elif start > self._start:
                self._ahead.setdefault(start, {})[key] = used
        self.strangers = len(self.counts)


class SlidingTable(FixedTable):
    """Sliding windows: this window's page and the last one's.

    `strangers` are the invented keys of both pages; `_present` those of this page, which are what
    is left of them when the window turns.
    """

    __slots__ = ("_present", "previous")

    def __init__(self, limit: Limit, room: int) -> None:
        super().__init__(limit, room)
        self.previous: dict[bytes, int] = {}
        self._present = 0

    def __len__(self) -> int:
        return len(self.counts.keys() | self.previous.keys())

    @property
    def states(self) -> int:
        return len(self.counts) + len(self.previous)

    def is_over(self, now: int) -> bool:
        return super().is_over(now) and now >= self.window.span(self._end).end

    def _turn(self, now: int) -> None:
        last, end, present = self.counts, self._end, self._present
        super()._turn(now)
        self._present = self.strangers
        self.previous = {}
        if self._start == end:
            self.previous = last
            self.strangers += present

    def _find(self, counter: Counter, now: int) -> tuple[bytes, bool]:
        """Return the key that counts for a counter, and whether it is a newcomer's."""
        if now >= self._end:
            self._turn(now)
        key = counter.key
        if key in self.counts or key in self.previous:
            return key, False
        if counter.bounded and self.strangers >= self._room:
            return counter.overflow, False
        return key, counter.bounded

    def knows(self, key: bytes, now: int) -> bool:
        return super().knows(key, now) or key in self.previous

    def judge(self, counter: Counter, limit: Limit, need: int, now: int) -> Standing:
        key, _ = self._find(counter, now)
        state = self.counts.get(key, 0), self.previous.get(key, 0)
        return sliding_window.judge(limit, state, need, Span(self._start, self._end), now)

    charge = Usual.charge
    restate = Usual.restate

    def add(self, op: Op, hits: int, now: int) -> None:
        key, newcomer = self._find(op.counter, now)
        self.strangers += newcomer
        if op.counter.bounded and key not in self.counts and key is not op.counter.overflow:
            self._present += 1
        state = self.counts.get(key, 0), self.previous.get(key, 0)
        self.counts[key] = sliding_window.add(state, hits, Span(self._start, self._end))[0]
        if self.dirty is not None:
            self.dirty.add(key)

    def take_back(self, op: Op, now: int) -> None:
        key, _ = self._find(op.counter, now)
        if not 0 < op.as_of < self._start:
            self._reduce(self.counts, key, op.hits)
        elif op.as_of >= self.window.span(self._start - 1).start:
            self._reduce(self.previous, key, op.hits)

    def rows(self, keys: Iterable[bytes], now: int) -> Iterator[Row]:
        if now >= self._end:
            self._turn(now)
        over = self.window.span(self._end).end
        for key in keys:
            current, previous = self.counts.get(key, 0), self.previous.get(key, 0)
            if current or previous:
                yield self._start, key, current, previous, over

    def restore(self, rows: Iterable[Row], now: int) -> None:
        if now >= self._end:
            self._turn(now)
        for start, key, current, previous, _ in rows:
            if start == self._start:
                self.counts[key], self.previous[key] = current, previous
            elif start > self._start:
                self._ahead.setdefault(start, {})[key] = current
                if start == self._end:
                    self.counts[key] = previous
            elif self.window.span(start).end == self._start:
                self.previous[key] = current
        self.strangers = len(self)
        self._present = len(self.counts)
