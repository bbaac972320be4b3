"""The port to the counts: what a store promises, whichever it is.

`Counters` is the contract; `tests/contract` holds every store to it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ratelimitd.clock import Clock
    from ratelimitd.model import Op, Standing


class Taken(NamedTuple):
    """What came of one `take`."""

    now: int
    """The store's own instant of the decision, microseconds; all results refer to it."""
    passed: bool
    """Whether all charges, acquisitions and peeks passed (those of shadow limits aside)."""
    standings: Sequence[Standing]
    """One per operation, in its order."""


ID_LIFETIME = 120_000_000
"""How long a store remembers a request id at least, microseconds from the first try with it."""

make_taken: Callable[[tuple[int, bool, Sequence[Standing]]], Taken] = partial(tuple.__new__, Taken)
"""Make a `Taken` of its fields in their order: a third of the constructor's time."""


class Counters(Protocol):
    """The counts of every limit.

    - A counter that does not exist reads as unused; one whose window is over reads as unused.
    - The store owns the clock, and time never runs backwards within one store.
    - Every counter disappears by itself once it no longer matters (a TTL of at most two windows).
    - `StoreError` (and its kinds) is the only exception that leaves a store.
    """

    async def take(self, ops: Sequence[Op], request_id: bytes = b"") -> Taken:
        """Do the operations of one call, atomically.

        CHARGE, PEEK and ACQUIRE decide together: if one of them does not pass, none of them
        changes anything. A shadow limit never denies; it counts with the others, where its own hits
        fit. REPORT, REFUND, RELEASE and RENEW are always done, and before all others of the call,
        wherever they stand in it: they tell what has happened, and the rest is judged on what they
        leave. Among themselves they add up in their order, and so do charges (`Op.prior`). Costs
        one round trip, or none. Raises `StoreError`.

        A lease is held from ACQUIRE until RELEASE or until its meter's lease time has passed, which
        RENEW begins anew. Both change nothing for a lease that is not held: one that was released,
        has ended, is of another counter, or never was. RENEW says so by `Standing.passes`; a
        RELEASE always passes, and gave something back where `before` and `after` differ.

        Within `ID_LIFETIME`, the reports and refunds of calls with the same `request_id` are done
        at most once, by the first call that reaches the counts: so a call whose outcome nobody
        knows can be sent again. Empty: not remembered. A release needs no id, it has its lease's.
        A store that cannot fail halfway may ignore ids.
        """
        ...

    async def close(self) -> None:
        """Write what is not yet written and let go of everything. Idempotent."""
        ...


class Store(Counters, Protocol):
    """Counters as a process owns them: opened once, and telling their operators how they are."""

    @property
    def clock(self) -> Clock:
        """What `take` decides by, as far as this process can tell."""
        ...

    async def start(self) -> None:
        """Open what is to be opened, before the first `take`. Raises `StoreError`."""
        ...

    def figures(self) -> dict[str, int]:
        """Return numbers about the store for its operators, cheaply; names are ours.

        Names that end in `_total` only grow; the others come and go. A counter may be told as two
        (the states of two windows).
        """
        ...
