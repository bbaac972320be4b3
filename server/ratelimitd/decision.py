"""The answer as a value: what was decided, and how the limits of the call stand.

Made by `limiter`, read by `render` and the RPC edge. Knows neither messages nor headers.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ratelimitd.model import FOREVER, NEVER, Limit, MeterKind, Standing

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from ratelimitd.model import Op
    from ratelimitd.policy.spec import Family


class Status(NamedTuple):
    """What is said of one descriptor."""

    passes: bool
    """False only for a descriptor that a limit of its own denies, or whose key is refused."""
    standing: Standing | None
    """The limit that denies it, else its tightest; None where no limit applies."""


class Decision(NamedTuple):
    """One call's answer."""

    now: int
    """The instant of the decision, microseconds since the epoch."""
    allowed: bool
    """Whether the call may go on."""
    told: Sequence[Standing | None]
    """One per descriptor, in their order: the limit that denies it, else its tightest; None where
    no limit applies."""
    shown: Standing | None
    """The limit that headers and body speak of; None for reports, exempt and unmatched calls."""
    standings: Sequence[Standing]
    """Every limit of the call that headers may show, for the `ietf` family."""
    families: tuple[Family, ...] = ()
    """Which headers the policy wants."""
    refusal: str = ""
    """Why the key is refused whatever it asks; empty otherwise."""
    lease: str = ""
    """The id of the lease that was granted; empty otherwise."""
    reason: str = ""
    """Why the call is denied where no limit is: `details.reason` of the body; empty otherwise."""
    every: Sequence[Standing] = ()
    """How each operation of the call stands, in their order; those of shadow limits too."""
    ops: Sequence[Op] = ()
    """Those operations, without the lease's id; told also where nobody knows how they stand."""
    counted: bool = True
    """Whether the store has it. False where something stood in for the store, or nothing did."""
    fails: Collection[int] = ()
    """Which descriptors a limit of their own denies, or have a refused key; none of an allowed
    call's."""

    @property
    def statuses(self) -> list[Status]:
        """What is said of each descriptor."""
        return [Status(at not in self.fails, each) for at, each in enumerate(self.told)]


make_decision: Callable[[tuple[Any, ...]], Decision] = partial(tuple.__new__, Decision)
"""Make a `Decision` of all its fields in their order: a third of the constructor's time."""

_RANKS = {MeterKind.PREPAID: 0, MeterKind.POSTPAID: 1, MeterKind.LEASE: 2}


def rank(limit: Limit) -> int:
    """Return the place of a limit's meter where several could be shown: prepaid first."""
    return _RANKS[limit.meter.kind]


def length(limit: Limit) -> int:
    """Return how long the limit's window is, microseconds; 0 for leases."""
    return limit.window.longest_us if limit.window else 0


def tightest(standings: Sequence[Standing]) -> Standing:
    """Return the standing with the least remaining/amount; on a tie, that of the longest window."""
    best = standings[0]
    limit = best[0]
    best_of = limit.burst or limit.amount
    best_left = best_of - best[3]
    for standing in standings[1:]:
        limit = standing[0]
        of = limit.burst or limit.amount
        left = of - standing[3]
        ours, theirs = left * (best_of or 1), best_left * (of or 1)
        if ours < theirs or (ours == theirs and length(limit) > length(best[0])):
            best, best_left, best_of = standing, left, of
    return best


def longest_wait(standings: Iterable[Standing]) -> Standing:
    """Return the standing whose retry comes last (never is last of all); ties: longest window."""
    return max(standings, key=lambda s: (_wait(s), length(s.limit)))


def _wait(standing: Standing) -> int:
    return FOREVER if standing.retry_at == NEVER else standing.retry_at
