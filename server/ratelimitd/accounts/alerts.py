"""Alerts: what a customer asked to be told, and what is due by how limits stand.

Pure: knows no store, no secret in the clear, nobody's address. Where events go is `outbox`'s and
`delivery`'s.

An event is due while the used part of a limit is at the threshold or over it. Its id is that of the
alert and of the limit's window (of the hour, for token buckets and leases), so that whoever adds
each id once tells it once per window; what was lost on the way is due again with the next decision.
"""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple

from ratelimitd.model import OWN, Algorithm, Limit, MeterKind, Standing, Subject
from ratelimitd.windows import timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_ALERTS: Final = 20
"""Alerts of one key."""
EVENT: Final = "rate_limit.threshold_reached"
"""The type that the body of every event names."""
HOUR: Final = 3_600_000_000
"""Microseconds. How often at most is told of what has no window to begin anew."""


class AlertType(enum.Enum):
    """Which meters an alert is about."""

    RATE_LIMIT = "rate_limit"
    TOKEN_QUOTA = "token_quota"  # noqa: S105 - the promised word
    CONCURRENT = "concurrent"


KINDS: Final = {
    AlertType.RATE_LIMIT: MeterKind.PREPAID,
    AlertType.TOKEN_QUOTA: MeterKind.POSTPAID,
    AlertType.CONCURRENT: MeterKind.LEASE,
}
"""Which meters those are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One wish of one key."""

    id: str
    """Ours: `alert_…`."""
    subject: Subject
    type: AlertType
    limit: str
    """The limit's name; empty: the one that headers report, or the longest of its kind."""
    threshold: int
    """Percent of the limit, 1 to 100."""
    created: int
    """Microseconds since the epoch."""
    sealed: bytes = field(repr=False)
    """Where to, and the signing secret, encrypted: opaque here."""

    def __post_init__(self) -> None:
        if not 1 <= self.threshold <= 100:  # noqa: PLR2004 - percent
            msg = f"alert {self.id}: a threshold of {self.threshold} is not within 1..100"
            raise ValueError(msg)


class Reported(NamedTuple):
    """What headers of the alert's domain report."""

    limit: str = ""
    meter: str = ""


class Event(NamedTuple):
    """That a threshold has been reached."""

    id: str
    """The webhook's id: the same for one alert and window, whoever tells it."""
    alert: Alert
    body: str
    """What is posted, JSON."""
    ends: int
    """When the window is over whose threshold this is, microseconds."""


def own_limit(limit: Limit) -> bool:
    """Say whether a limit can be the subject of an alert: the key's alone, and one that denies."""
    return limit.per == OWN and not limit.shadow


def chosen(
    alert_type: AlertType, name: str, limits: Iterable[Limit], reported: Reported
) -> Limit | None:
    """Return which of a key's limits an alert is about; None where it has none of the kind."""
    kind = KINDS[alert_type]
    mine = [limit for limit in limits if limit.meter.kind is kind and own_limit(limit)]
    if name:
        return next((limit for limit in mine if limit.name == name), None)
    if kind is MeterKind.PREPAID and reported.meter:
        mine = [limit for limit in mine if limit.meter.name == reported.meter]
        for limit in mine:
            if limit.name == reported.limit:
                return limit
    mine = [limit for limit in mine if not limit.when]
    return max(mine, key=lambda each: each.window.longest_us if each.window else 0, default=None)


def is_reached(alert: Alert, limit: Limit, used: int) -> bool:
    """Say whether so much of a limit is an alert's threshold or over it."""
    return used > 0 and used * 100 >= alert.threshold * limit.capacity


def due(alert: Alert, limit: Limit, family: str, standing: Standing, now: int) -> Event | None:
    """Return the event that is due by how the alert's limit stands at `now`; None below it.

    `family` is that of the limit's counter: one limit has one, however it is named.
    """
    used = standing.after
    if not is_reached(alert, limit, used):
        return None
    start, end = now - now % HOUR, now - now % HOUR + HOUR
    window = limit.window
    if window is not None and limit.algorithm is not Algorithm.TOKEN_BUCKET:
        start, end = window.span(now)
    named = f"{alert.id}|{family}|{start}".encode()
    data = {
        "meter": limit.meter.name,
        "window": window and (window.unit.value if window.unit else window.name),
        "threshold": alert.threshold,
        "used": used,
        "limit": limit.capacity,
        "remaining": max(0, limit.capacity - used),
        "reset_at": timestamp(standing.reset_at),
    }
    body = json.dumps({"type": EVENT, "timestamp": timestamp(now), "data": data})
    return Event(f"msg_{blake2b(named, digest_size=16).hexdigest()}", alert, body, end)
