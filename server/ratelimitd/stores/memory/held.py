"""The leases that one counter holds, in the order in which they end.

Granting, renewing, releasing, expiring and counting cost the same however many are held. That rests
on time never running backwards: leases of one lifetime end in the order in which they were granted
or renewed, so that a lease that is granted or renewed is the last of its kind. A policy that is
loaded anew may change the lifetime; then there are several kinds until the last of the old have
ended. Knows no clock, no limit and no other counter.
"""

from __future__ import annotations

from collections import OrderedDict
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Held:
    """Leases by their ids. Those that have ended are let go whenever the rest are counted."""

    __slots__ = ("_kinds", "last", "size", "until")

    def __init__(self) -> None:
        self._kinds: dict[int, OrderedDict[str, int]] = {}
        """By lifetime: id to the instant at which it ends, the next to end first."""
        self.until = 0
        """None of those held ends before this instant, so that nobody need look."""
        self.last = 0
        """When the last of those held ends; of no meaning where none is."""
        self.size = 0
        """How many there are, those that have ended since somebody looked among them."""

    def count(self, now: int) -> tuple[int, int]:
        """Return how many are held, and when the last of them ends (now, where none is)."""
        if now >= self.until:
            self.let_go(now)
        return (self.size, self.last) if self.size else (0, now)

    def let_go(self, now: int) -> None:
        """Forget those that have ended. The last of those that have not stays the last."""
        for kind in self._kinds.values():
            while kind and kind[next(iter(kind))] <= now:
                kind.popitem(last=False)
        firsts = [kind[next(iter(kind))] for kind in self._kinds.values() if kind]
        self.until = min(firsts, default=now)
        self.size = sum(map(len, self._kinds.values()))

    def holds(self, lease: str, now: int) -> bool:
        """Say whether a lease is held."""
        return self.find(lease, now) is not None

    def find(self, lease: str, now: int) -> tuple[int, int] | None:
        """Return lifetime and end of a lease, if it is held."""
        for lifetime, kind in self._kinds.items():
            ends = kind.get(lease, now)
            if ends > now:
                return lifetime, ends
        return None

    def first(self, most: int, now: int) -> Iterator[tuple[int, str]]:
        """Yield end and id of so many of those held, the next to end first."""
        self.count(now)  # lets go of those that have ended
        kinds = [((ends, lease) for lease, ends in kind.items()) for kind in self._kinds.values()]
        return islice(merge(*kinds), most)

    def extend(self, lease: str, lifetime: int, ends: int) -> bool:
        """Hold one more, if all live as long as it, and none has its id; say whether it is held."""
        kind = self._kinds.get(lifetime)
        if kind is None or lease in kind or len(self._kinds) > 1:
            return False
        kind[lease] = self.last = ends
        self.size += 1
        return True

    def hold(self, lease: str, lifetime: int, ends: int) -> None:
        """Hold a lease until then. `ends` is never before that of one of the same lifetime."""
        if not self.extend(lease, lifetime, ends):
            self._prepare(lease, lifetime, ends)[lease] = ends
            self.size += 1
            self.last = max(self.last, ends)

    def _prepare(self, lease: str, lifetime: int, ends: int) -> OrderedDict[str, int]:
        """Return the kind of a lease that is held already, or of which others may end sooner."""
        self.free(lease)
        self._kinds = {key: kind for key, kind in self._kinds.items() if kind}
        self.until = min(self.until, ends)
        return self._kinds.setdefault(lifetime, OrderedDict())

    def free(self, lease: str) -> bool:
        """Let go of a lease, and say whether there was one of that id."""
        for kind in self._kinds.values():
            ends = kind.pop(lease, None)
            if ends is not None:
                self.size -= 1
                if ends == self.last:
                    lasts = [kind[next(reversed(kind))] for kind in self._kinds.values() if kind]
                    self.last = max(lasts, default=0)
                return True
        return False
