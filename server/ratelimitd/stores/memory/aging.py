"""States that are forgotten once they have not been written for a lifetime.

Two generations of a dict: what is written moves to the young one; each time a lifetime has passed
the old one is dropped. Costs no timer, no heap and no sweep. Knows nothing of what the states mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from ratelimitd.stores.memory.table import Usual

if TYPE_CHECKING:
    from ratelimitd.model import Counter, Limit

S = TypeVar("S")


class Aging(Generic[S]):
    """Key to state, with at most `room` keys that callers invented."""

    __slots__ = (
        "_old",
        "_old_strangers",
        "_room",
        "_turned",
        "_young_strangers",
        "ages_at",
        "lifetime",
        "young",
    )

    def __init__(self, room: int) -> None:
        self._room = room
        self.young: dict[bytes, S] = {}
        """Those that were written lately, each under its own key, as most that are asked for."""
        self._old: dict[bytes, S] = {}
        self._young_strangers = 0
        self._old_strangers = 0
        self._turned = 0
        self.ages_at = 0
        """Before this instant the young stay so, and need not be put again for as long a life."""
        self.lifetime = 0
        """The longest that any state was said to matter after a write, microseconds."""

    def __len__(self) -> int:
        return len(self.young) + len(self._old)

    def get(self, key: bytes) -> S | None:
        """Return the state, or None."""
        state = self.young.get(key)
        return self._old.get(key) if state is None else state

    @property
    def strangers(self) -> int:
        """How many keys that callers invented are held."""
        return self._young_strangers + self._old_strangers

    def is_over(self, now: int) -> bool:
        """Say whether whatever is held was last written more than a lifetime ago.

        The young were written before the next turn was due: it comes with the first write after.
        """
        return now >= self._turned + 2 * self.lifetime

    def find(self, counter: Counter) -> bytes:
        """Return the counter's key, or its overflow key where a newcomer finds no room."""
        key = counter.key
        if not counter.bounded or key in self.young or key in self._old:
            return key
        return counter.overflow if self.strangers >= self._room else key

    def put(self, key: bytes, state: S, bounded: bool) -> None:  # noqa: FBT001 - reads as the counter's
        """Write a state. `bounded`: the key is one that callers can invent."""
        if key not in self.young:
            moved = self._old.pop(key, None) is not None
            if bounded:
                self._young_strangers += 1
                self._old_strangers -= moved
        self.young[key] = state

    def age(self, now: int, lifetime: int) -> None:
        """Drop what no longer matters, given that states matter for `lifetime` after a write."""
        if lifetime > self.lifetime:
            self.lifetime = lifetime
            self.ages_at = self._turned + lifetime
        if now < self.ages_at:
            return
        fresh = now < self._turned + 2 * self.lifetime
        self._old = self.young if fresh else {}
        self._old_strangers = self._young_strangers if fresh else 0
        self.young = {}
        self._young_strangers = 0
        self._turned = now
        self.ages_at = now + self.lifetime


class AgingTable(Usual, Generic[S]):
    """What tables share whose states are forgotten a lifetime after their last write."""

    __slots__ = ("_states", "dirty", "limit")

    def __init__(self, limit: Limit, room: int) -> None:
        self.limit = limit
        self._states: Aging[S] = Aging(room)
        self.dirty: set[bytes] | None = None

    def __len__(self) -> int:
        return len(self._states)

    @property
    def strangers(self) -> int:
        return self._states.strangers

    @property
    def states(self) -> int:
        return len(self._states)

    def is_over(self, now: int) -> bool:
        return self._states.is_over(now)

    def knows(self, key: bytes, now: int) -> bool:
        del now
        return self._states.get(key) is not None
