"""What a table of the memory store is, and how a counter looks at rest. No table is made here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ratelimitd.model import make_standing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ratelimitd.model import Counter, Limit, Op, Standing

Row = tuple[int, bytes, int, int, int]
"""A counter at rest: start of its window (0 without), key, two numbers of its state, and the first
instant at which it no longer matters."""


class Noted(Protocol):
    """What somebody may write down."""

    @property
    def limit(self) -> Limit | None:
        """One of the family's limits; None for what has none (ids of calls)."""
        ...

    dirty: set[bytes] | None
    """Keys changed since somebody who writes them down last looked; None where nobody does."""

    def rows(self, keys: Iterable[bytes], now: int) -> Iterator[Row]:
        """Yield the states of those keys that still matter, or that are at rest and no longer do.

        The latter end at 0: whoever reads them leaves them out.
        """
        ...


class Table(Noted, Protocol):
    """The counters of one family."""

    limit: Limit
    """One of the family's limits: window and algorithm are the family's, the amount is not."""

    @property
    def strangers(self) -> int:
        """How many counters that callers invented have a place; some may be over."""
        ...

    def knows(self, key: bytes, now: int) -> bool:
        """Say whether the counter lives: a bounded one that does not needs a place."""
        ...

    def judge(self, counter: Counter, limit: Limit, need: int, now: int) -> Standing:
        """Say whether `need` hits fit the counter. Changes nothing."""
        ...

    def charge(self, op: Op, now: int, lease: str) -> None:
        """Count a charge or an acquisition that `judge` passed at this same instant.

        `lease`: the acquisition's, where the operation names none.
        """
        ...

    def restate(self, op: Op, standing: Standing, now: int) -> Standing:
        """Tell what `judge` passed, but was not counted, as the counter stands now."""
        ...

    def add(self, op: Op, hits: int, now: int) -> None:
        """Count hits, or for leases: grant, renew or release the operation's."""
        ...

    def take_back(self, op: Op, now: int) -> None:
        """Give back the operation's hits, of those that still count of `Op.as_of`."""
        ...

    def restore(self, rows: Iterable[Row], now: int) -> None:
        """Take in states at rest, into an empty table; what no longer matters is left out.

        A window that is yet to come (the host's clock went back) waits for its time. Nobody knows
        any more which keys callers invented, so all count as invented.
        """
        ...

    def is_over(self, now: int) -> bool:
        """Say whether no counter matters any more, so that the table can be dropped."""
        ...

    @property
    def states(self) -> int:
        """How many states are held; more than counters live where some have two, or are over."""
        ...

    def __len__(self) -> int:
        """How many counters live."""
        ...


class Usual:
    """What most tables do by their other methods; some have a shorter way."""

    __slots__ = ()

    def charge(self: Table, op: Op, now: int, lease: str) -> None:
        del lease
        self.add(op, op.hits, now)

    def restate(self: Table, op: Op, standing: Standing, now: int) -> Standing:
        limit, _, _, _, retry_at, _ = standing
        _, _, used, _, _, reset_at = self.judge(op.counter, limit, 0, now)
        return make_standing((limit, True, used, used, retry_at, reset_at))
