"""What a key's alerts are about: which of its limits, under the present policies and its record.

Concluded once for many decisions; remembers of each what has been told already.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from ratelimitd.accounts import lookup
from ratelimitd.accounts.alerts import chosen, is_reached

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ratelimitd.accounts.alerts import Alert
    from ratelimitd.model import Limit
    from ratelimitd.policy.callers import Caller
    from ratelimitd.policy.matcher import Matcher
    from ratelimitd.policy.registry import Known


class Aim:
    """An alert and the limit that it is about."""

    __slots__ = ("alert", "limit", "until")

    def __init__(self, alert: Alert, limit: Limit) -> None:
        self.alert = alert
        self.limit = limit
        self.until = 0
        """Before that instant it is told, as far as this process knows."""

    def is_due(self, now: int, used: int) -> bool:
        """Say whether there is something to tell."""
        return now >= self.until and is_reached(self.alert, self.limit, used)


class Aims(NamedTuple):
    """What the alerts of a key are about, by the families of the limits' counters."""

    matchers: Mapping[str, Matcher]
    knowns: Sequence[Known]
    """What that was concluded from, with the policies above."""
    of_family: Mapping[str, Sequence[Aim]]

    @property
    def are_current(self) -> bool:
        """Whether nothing of a key's record has changed since."""
        return all(known.current for known in self.knowns)

    def all_told(self, family: str, now: int, used: int) -> bool:
        """Say whether a counter's use leaves nothing to tell."""
        return not any(aim.is_due(now, used) for aim in self.of_family.get(family, ()))


def aims_of(
    alerts: Sequence[Alert], callers: Mapping[str, Caller], matchers: Mapping[str, Matcher]
) -> Aims:
    """Return what a key's alerts are about; a key that may not call has none."""
    of_family: defaultdict[str, list[Aim]] = defaultdict(list)
    for domain, caller in callers.items():
        if caller.record is None or caller.refusal:
            continue
        matcher = matchers[domain]
        families = {limit: counter.family for limit, counter in matcher.counted(caller)}
        reported = lookup.reported(matcher)
        for alert in alerts:
            limit = chosen(alert.type, alert.limit, caller.limits, reported)
            if limit in families:
                of_family[families[limit]].append(Aim(alert, limit))
    return Aims(matchers, [caller.known for caller in callers.values()], of_family)
