"""What a server remembers: values that expire by its clock, and the way back for a failover."""

from collections.abc import Callable

Lease = tuple[tuple[str, int], ...]
Value = int | tuple[int, int] | Lease
"""A count, a bucket's (level, at), or the leases held with the instants at which they expire."""


class Keyspace:
    """Keys of one server. All times are its own, microseconds."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self.clock = clock
        self._rows: dict[bytes, tuple[Value, int]] = {}
        self._undo: list[list[tuple[bytes, tuple[Value, int] | None]]] = [[]]

    def get(self, key: bytes) -> Value | None:
        """Return a value that has not expired."""
        row = self._rows.get(key)
        if row is None:
            return None
        if row[1] <= self.clock():
            self.delete(key)
            return None
        return row[0]

    def set(self, key: bytes, value: Value, ends: int | None = None) -> None:
        """Write a value that ends at an instant, on a millisecond; without one it keeps its own."""
        row = self._rows.get(key)
        self._undo[-1].append((key, row))
        assert ends is not None or row is not None, "a counter without an end"
        self._rows[key] = (
            value,
            row[1] if ends is None and row else -(-(ends or 0) // 1000) * 1000,
        )

    def delete(self, key: bytes) -> None:
        """Forget a key."""
        self._undo[-1].append((key, self._rows.pop(key, None)))

    def number(self, key: bytes) -> int:
        """Return a count; 0 where there is none."""
        value = self.get(key)
        assert value is None or isinstance(value, int)
        return value or 0

    def mark(self) -> int:
        """Begin a write that a replica has whole or not at all; return its number."""
        self._undo.append([])
        return len(self._undo) - 1

    def lose(self, mark: int) -> None:
        """Go back to what was there before a write began."""
        while len(self._undo) > mark:
            for key, row in reversed(self._undo.pop()):
                if row is None:
                    self._rows.pop(key, None)
                else:
                    self._rows[key] = row
        self._undo.append([])

    def live(self) -> dict[bytes, Value]:
        """Return all that has not expired."""
        return {key: row[0] for key, row in self._rows.items() if row[1] > self.clock()}
