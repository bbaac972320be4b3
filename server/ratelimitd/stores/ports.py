"""The port to the counts: what a store promises, whichever it is.

`Counters` is the contract; `tests/contract` holds every store to it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ratelimitd.model import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratelimitd.clock import Clock
    from ratelimitd.model import Counter, Op, Standing


class Taken(NamedTuple):
    """What came of one `take`."""

    now: int
    """The store's own instant of the decision, microseconds; all results refer to it."""
    passed: bool
    """Whether all charges, acquisitions and peeks passed (those of shadow limits aside)."""
    standings: Sequence[Standing]
    """One per operation, in its order."""
    repeated: bool = False
    """Whether a call with this id had come before, so that this one's reports and refunds changed
    nothing: `before` and `after` are equal. False where the call has no id that is remembered."""


class HeldLease(NamedTuple):
    """A lease that a counter holds."""

    lease: str
    """Its id, which is a secret: whoever knows it can give it back."""
    ends: int
    """When it ends by itself, microseconds."""


class Holding(NamedTuple):
    """What a counter holds."""

    held: int
    """How many leases."""
    leases: Sequence[HeldLease]
    """Those that end next, in the order of their ends; as many as were asked for."""


Observe = Callable[["Sequence[Op]", Taken], None]
"""Is told the operations of a call that a store has answered, and what came of them."""

ID_LIFETIME = 120_000_000
"""How long a store remembers a request id at least, microseconds from the first try with it."""

make_taken: Callable[[tuple[int, bool, Sequence[Standing], bool]], Taken] = partial(
    tuple.__new__, Taken
)
"""Make a `Taken` of its four fields in their order: a third of the constructor's time."""


def leased(ops: Sequence[Op], lease: str) -> Sequence[Op]:
    """Return operations whose acquisitions are of a lease, where they name none themselves."""
    if not lease:
        return ops
    return [
        op._replace(lease=lease) if op.kind == Kind.ACQUIRE and not op.lease else op for op in ops
    ]


class Counters(Protocol):
    """The counts of every limit.

    - A counter that does not exist reads as unused; one whose window is over reads as unused.
    - The store owns the clock, and time never runs backwards within one store.
    - Every counter disappears by itself once it no longer matters (a TTL of at most two windows).
    - `StoreError` (and its kinds) is the only exception that leaves a store.
    """

    async def take(
        self, ops: Sequence[Op], request_id: bytes = b"", remember_us: int = 0, lease: str = ""
    ) -> Taken:
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

        A refund gives back hits of the present window, or with `Op.as_of` those that were charged
        at that instant, where they still count: in a fixed window, if it is the present one; in a
        sliding one, also if it is the last one (then what still weighs of it); in a token bucket,
        always, since a level that has drained is nothing that can be given back.

        The reports and refunds of calls with the same `request_id` are done at most once, by the
        first call that reaches the counts; `Taken.repeated` tells the others. Charges, acquisitions
        and peeks are judged each time, releases and renewals have their leases' ids. Empty: not
        remembered. How long an id is remembered, from the first call with it:

        - `remember_us` 0: for `ID_LIFETIME`, so that a call whose outcome nobody knows can be sent
          again. A store that cannot fail halfway may ignore such ids.
        - Else for `remember_us` (and at least `ID_LIFETIME`), by every store, for what may be told
          once in a long time: the settling of a reservation. A store in the process remembers a
          bounded number; beyond it those that would be forgotten next are forgotten sooner.

        `lease` is the id of what the acquisitions acquire that name none themselves (`leased`): so
        the same `ops` can come again with another, and a store knows what it made of them before.
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

    async def held(self, counter: Counter, most: int) -> Holding:
        """Tell what a counter of leases holds: how many, and the `most` that end next.

        Changes nothing; one that does not exist holds nothing. What a newcomer that found no place
        holds on the counter that it shares is not told: nobody knows there whose a lease is. The
        cost is that of the leases told, however many are held; one round trip, or none. Raises
        `StoreError`.
        """
        ...

    def figures(self) -> dict[str, int]:
        """Return numbers about the store for its operators, cheaply; names are ours.

        Names that end in `_total` only grow; the others come and go. A counter may be told as two
        (the states of two windows).
        """
        ...
