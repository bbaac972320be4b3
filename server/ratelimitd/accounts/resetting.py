"""What `reset` forgets, and what it leaves. Pure.

It forgets what the key alone has counted. Leases are left: the requests that hold them are still
running, and each ends by itself. So is what the key counts together with others (`per: [org]`, or
a newcomer that found no place of its own): they would get more than their limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ratelimitd.errors import InvalidFieldsError
from ratelimitd.model import MAX_COUNT, Algorithm, Counter, Kind, Op
from ratelimitd.policy.faults import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ratelimitd.accounts.usage import Counted, Usage
    from ratelimitd.model import Limit
    from ratelimitd.policy.spec import Policy


class Forgotten(NamedTuple):
    """What came of a reset."""

    before: Sequence[Usage]
    """All limits of the key, as they stood."""
    forgotten: Sequence[Usage]
    """Those of them whose use was forgotten."""


def forgets(limit: Limit, meter: str) -> bool:
    """Say whether a reset of this meter (empty: of all) forgets what was used of a limit."""
    counted = "subject" in limit.per and limit.algorithm is not Algorithm.LEASE
    return counted and meter in {"", limit.meter.name}


def own(counted: Counted) -> Counted:
    """Return the limit with the key's own counter, in whose place another may stand."""
    family, key, tag = counted.counter.family, counted.counter.key, counted.counter.tag
    return counted._replace(counter=Counter(family, key, bounded=False, tag=tag))


def refunds(counted: Counted, now: int) -> list[Op]:
    """Return what gives back all that a counter knows at an instant, or shortly after it."""
    _, limit, counter = counted
    whole = Op(Kind.REFUND, counter, limit, MAX_COUNT)
    if limit.algorithm is not Algorithm.SLIDING_WINDOW or limit.window is None:
        return [whole]
    # It looks at the window before as well; and by the time it is done, the present one may be it.
    before = limit.window.span(now).start - 1
    return [whole, whole._replace(as_of=now), whole._replace(as_of=max(before, 1))]


def check_meter(meter: str, policies: Iterable[Policy]) -> None:
    """Raise `InvalidFieldsError` for a meter that no policy has."""
    known = {name for policy in policies for name in policy.meters}
    if meter and meter not in known:
        close = nearest(meter, known)
        meant = f"did you mean `{close}`?" if close else f"one of {', '.join(sorted(known))}"
        raise InvalidFieldsError.of(("meter", f"no policy has this meter: {meant}"))
