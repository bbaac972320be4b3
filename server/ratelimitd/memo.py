"""A bounded cache in two generations: what is asked for again survives, a flood of others does not.

Costs one or two dictionary look-ups, no bookkeeping on a hit. A leaf: knows nothing of its content.
"""

from __future__ import annotations

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Memo(Generic[K, V]):
    """At most twice `generation` values; the least recently touched generation goes first."""

    __slots__ = ("_generation", "_old", "_young", "get")

    def __init__(self, generation: int) -> None:
        self._generation = generation
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}
        self.get = self._young.get
        """Look a key up among the young; None on a miss. On a miss, ask `recall`."""

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def recall(self, key: K) -> V | None:
        """Look among the old, and make what is found young again."""
        value = self._old.pop(key, None)
        if value is not None:
            self.put(key, value)
        return value

    def drop(self, key: K) -> None:
        """Forget one value, if it is there."""
        self._young.pop(key, None)
        self._old.pop(key, None)

    def forget(self) -> None:
        """Forget everything, value by value, so that other threads come in between."""
        for values in (self._young, self._old):
            while values:
                values.popitem()

    def put(self, key: K, value: V) -> None:
        """Remember a value, forgetting the old generation when the young one is full."""
        if len(self._young) >= self._generation:
            self._old = self._young
            self._young = {}
            self.get = self._young.get
        self._young[key] = value
