"""What customers do with the alerts of their key: make, look, remove.

The use case behind the HTTP API. Checks everything before it writes, seals what must not lie open,
and tells the audit log of each change. Only keys that are registered, or stand in a policy file,
have alerts: others could be invented at will.
"""

from __future__ import annotations

import base64
import json
import secrets
from typing import TYPE_CHECKING, Any, NamedTuple

from ratelimitd.accounts import audit, lookup
from ratelimitd.accounts.addresses import read_url
from ratelimitd.accounts.alerts import (
    KINDS,
    MOST_ALERTS,
    Alert,
    AlertType,
    chosen,
    own_limit,
)
from ratelimitd.accounts.delivery import PREFIX
from ratelimitd.accounts.sealing import Hook
from ratelimitd.errors import (
    InvalidFieldsError,
    KeyNotFoundError,
    KeyRefusedError,
    StoreUnavailableError,
    TooManyAlertsError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ratelimitd.accounts.outbox import Outbox
    from ratelimitd.accounts.sealing import Sealer
    from ratelimitd.clock import Clock
    from ratelimitd.model import Limit, Subject
    from ratelimitd.policy.callers import Caller
    from ratelimitd.policy.registry import Registry

CUSTOMER = "customer"
"""Who, in the audit log: the key's holder."""
UNREADABLE = "unreadable"
"""The state of an alert whose secret is gone: nobody knows where its events should go."""
_THRESHOLDS = range(1, 101)
_SECRET = 32  # bytes; Standard Webhooks wants 24 to 64
_TYPES = ", ".join(f"`{each.value}`" for each in AlertType)


class Wish(NamedTuple):
    """What a customer asks for."""

    type: str
    threshold: int
    webhook_url: str
    limit: str = ""
    """A limit's name; empty: the one that headers report, or the longest of its kind."""


class Made(NamedTuple):
    """An alert that was made."""

    alert: Alert
    url: str
    secret: str
    """`whsec_…`: what its receiver verifies signatures with. Never told again."""


class Delivery(NamedTuple):
    """How the last delivery went."""

    state: str
    """`delivered`, `failed` (it is tried again), `given_up`, or `UNREADABLE`."""
    at: int | None = None
    """Microseconds since the epoch."""
    attempts: int = 0
    status: int | None = None
    """What the receiver answered."""
    error: str = ""
    """In a word, why it did not."""


class Told(NamedTuple):
    """An alert as its owner sees it."""

    alert: Alert
    url: str
    """Empty where nobody can know it any more."""
    delivery: Delivery | None
    """None: nothing was sent yet."""


class Alerting:
    """See the module."""

    def __init__(
        self,
        outbox: Outbox,
        registry: Registry,
        policies: lookup.Policies,
        sealer: Sealer,
        clock: Clock,
        *,
        allow_private: bool = False,
        on_change: Callable[[Subject], object] = bool,
    ) -> None:
        """Keep alerts in `outbox`. `allow_private` admits webhooks to addresses of our own.

        `on_change` is told whose alerts have changed, for this process to know at once.
        """
        self._outbox = outbox
        self._registry = registry
        self._policies = policies
        self._sealer = sealer
        self._clock = clock
        self._allow_private = allow_private
        self._on_change = on_change

    async def create(self, subjects: Sequence[Subject], wish: Wish) -> Made:
        """Make an alert of a key; `subjects`: the hashes that it may be known by.

        Raises `InvalidFieldsError` with all that is wrong, `TooManyAlertsError`, `StoreError`, and
        as `told`.
        """
        callers = await self._callers(subjects)
        faults = [*self._faults(wish, callers)]
        if faults:
            raise InvalidFieldsError.of(*faults)
        subject = next(iter(callers.values())).subject
        hook = Hook(
            wish.webhook_url, PREFIX + base64.b64encode(secrets.token_bytes(_SECRET)).decode()
        )
        number = f"alert_{secrets.token_hex(12)}"
        alert = Alert(
            id=number,
            subject=subject,
            type=AlertType(wish.type),
            limit=wish.limit,
            threshold=wish.threshold,
            created=self._clock(),
            sealed=self._sealer.seal(number, subject, hook),
        )
        elsewhere = [await self._outbox.alerts(each) for each in subjects if each != subject]
        if not await self._outbox.put(alert, MOST_ALERTS - sum(map(len, elsewhere))):
            msg = f"a key has at most {MOST_ALERTS} alerts; remove one first"
            raise TooManyAlertsError(msg)
        self._on_change(subject)
        audit.tell(CUSTOMER, "alert add", subject, None, self._shown(alert, hook.url))
        return Made(alert, hook.url, hook.secret)

    async def told(self, subjects: Sequence[Subject]) -> list[Told]:
        """Return a key's alerts, the oldest first, and how each went.

        Raises `KeyNotFoundError` for keys that nobody registered, `KeyRefusedError` for those that
        may not call, and `StoreError`.
        """
        await self._callers(subjects)
        alerts = await self._alerts(subjects)
        states = await self._outbox.states([alert.id for alert in alerts])
        return [self._told(alert, state) for alert, state in zip(alerts, states, strict=True)]

    async def remove(self, subjects: Sequence[Subject], alert_id: str) -> bool:
        """Remove an alert; False where the key has no such. Raises as `told`."""
        await self._callers(subjects)
        found = (each for each in await self._alerts(subjects) if each.id == alert_id)
        alert = next(found, None)
        return alert is not None and await self._remove(CUSTOMER, alert)

    async def forget(self, who: str, subjects: Sequence[Subject]) -> None:
        """Remove all alerts of a key that is no more: nobody else can. Raises `StoreError`."""
        for alert in await self._alerts(subjects):
            await self._remove(who, alert)

    async def _remove(self, who: str, alert: Alert) -> bool:
        if not await self._outbox.remove(alert.subject, alert.id):
            return False
        self._on_change(alert.subject)
        hook = self._sealer.open(alert.id, alert.subject, alert.sealed)
        before = self._shown(alert, hook.url if hook else "")
        audit.tell(who, "alert remove", alert.subject, before, None)
        return True

    async def _callers(self, subjects: Sequence[Subject]) -> dict[str, Caller]:
        """Return who a key is, in the domains that have a record of it."""
        found = await lookup.callers(self._policies, self._registry, subjects)
        recorded = {domain: each for domain, each in found.items() if each.record is not None}
        if not recorded:
            if any(caller.known.is_doubtful for caller in found.values()):
                raise StoreUnavailableError("the registry of keys does not answer at present")
            raise KeyNotFoundError("this key is not registered")
        good = {domain: each for domain, each in recorded.items() if not each.refusal}
        if not good:
            raise KeyRefusedError(next(iter(recorded.values())).refusal)
        return good

    async def _alerts(self, subjects: Sequence[Subject]) -> list[Alert]:
        found = [alert for each in subjects for alert in await self._outbox.alerts(each)]
        return sorted(found, key=lambda alert: (alert.created, alert.id))

    def _faults(self, wish: Wish, callers: Mapping[str, Caller]) -> Iterator[tuple[str, str]]:
        """Yield each field at fault, and what is wrong with it; nothing that was sent."""
        try:
            kind = AlertType(wish.type)
        except ValueError:
            yield "type", f"one of {_TYPES}"
        else:
            yield from self._limit_faults(kind, wish.limit, callers)
        if wish.threshold not in _THRESHOLDS:
            yield "threshold", "a whole percentage of the limit, 1 to 100"
        try:
            read_url(wish.webhook_url, allow_private=self._allow_private)
        except ValueError as error:
            yield "webhook_url", str(error)

    def _limit_faults(
        self, kind: AlertType, name: str, callers: Mapping[str, Caller]
    ) -> Iterator[tuple[str, str]]:
        if any(
            chosen(kind, name, caller.limits, lookup.reported(self._policies.matchers[domain]))
            for domain, caller in callers.items()
        ):
            return
        mine = _names(kind, (limit for caller in callers.values() for limit in caller.limits))
        if not mine:
            yield "type", "this key has no limit of its own that alerts of this type are about"
        elif name:
            yield "limit", f"this key has no such limit for alerts of this type; one of {mine}"
        else:
            yield "limit", f"name the limit that the alert is about; one of {mine}"

    def _told(self, alert: Alert, state: str) -> Told:
        hook = self._sealer.open(alert.id, alert.subject, alert.sealed)
        if hook is None:
            return Told(alert, "", Delivery(UNREADABLE))
        return Told(alert, hook.url, _delivery(state))

    def _shown(self, alert: Alert, url: str) -> dict[str, Any]:
        """Return what the audit log may know of an alert: of its URL the host alone."""
        try:
            host = read_url(url, allow_private=True).host
        except ValueError:
            host = ""
        told = {"alert": alert.id, "type": alert.type.value, "limit": alert.limit}
        return told | {"threshold": alert.threshold, "host": host}


def _names(kind: AlertType, limits: Iterator[Limit]) -> str:
    """Return the names of the limits that an alert of a type can be about."""
    mine = (each.name for each in limits if each.meter.kind is KINDS[kind] and own_limit(each))
    return ", ".join(f"`{name}`" for name in dict.fromkeys(mine))


def _delivery(state: str) -> Delivery | None:
    if not state:
        return None
    said = json.loads(state)
    return Delivery(
        said["state"], said["at"], said["attempts"], said["status"], said.get("error", "")
    )
