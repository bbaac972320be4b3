"""What administrators do with keys: register, change, look, revoke; usage and reset.

The use case behind AdminService, whoever calls it. Hashes keys on their way in, checks before it
writes, and tells the audit log of every change.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from ratelimitd.accounts import leases, lookup
from ratelimitd.accounts.audit import tell
from ratelimitd.accounts.checks import check
from ratelimitd.accounts.of_policy import in_policy, merged
from ratelimitd.accounts.record import as_dict
from ratelimitd.accounts.records import CONFLICT
from ratelimitd.accounts.resetting import Forgotten, check_meter, forgets, own, refunds
from ratelimitd.accounts.usage import Counted, Usage, look
from ratelimitd.background import by_turns
from ratelimitd.errors import (
    AccountError,
    InvalidFieldsError,
    KeyExistsError,
    KeyNotFoundError,
    RecordChangedError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from ratelimitd.accounts.known import KnownKeys
    from ratelimitd.accounts.record import Record
    from ratelimitd.accounts.records import Page
    from ratelimitd.keys import Hasher
    from ratelimitd.model import Subject
    from ratelimitd.policy.matcher import Matcher
    from ratelimitd.policy.spec import Policy
    from ratelimitd.stores.ports import Store

IN_FILE = "this key stands in the policy file; it can only be changed there"
_ATTEMPTS = 3


class Told(NamedTuple):
    """How a key stands."""

    usage: Sequence[Usage]
    tier: str
    refusal: str


class Administration:
    """See the module."""

    def __init__(
        self,
        known: KnownKeys,
        counters: Store,
        hasher: Hasher,
        policies: lookup.Policies,
        new_id: Callable[[], bytes],
        forget_alerts: Callable[[str, Sequence[Subject]], Awaitable[None]] | None = None,
    ) -> None:
        self._known = known
        self._records = known.records
        self._counters = counters
        self._hasher = hasher
        self._policies = policies
        self._new_id = new_id
        self._forget_alerts = forget_alerts

    @property
    def is_lasting(self) -> bool:
        """Whether what is registered outlives the process."""
        return self._records.is_lasting

    def subjects(self, api_key: str) -> tuple[Subject, ...]:
        """Return the hashes that a key may be registered under, the present one first."""
        return (self._hasher.key(api_key), *self._hasher.older(api_key))

    async def get(self, subjects: Sequence[Subject]) -> tuple[Record, bool]:
        """Return a key's record, and whether it is the policy file's. Raises `KeyNotFoundError`."""
        known = in_policy(self._matchers, subjects)
        if known is not None:
            return known, True
        for record in await self._records.get(subjects):
            if record is not None:
                return record, False
        msg = "this key is not registered"
        raise KeyNotFoundError(msg)

    async def add(self, who: str, record: Record, subjects: Sequence[Subject]) -> Record:
        """Register a key. Raises `KeyExistsError`, `InvalidFieldsError`."""
        self._check(record)
        try:
            _, is_files = await self.get(subjects)
        except KeyNotFoundError:
            new = replace(record, subject=subjects[0], version=0)
            (version,) = await self._records.put([new])
            if version != CONFLICT:
                return self._done(who, "add", None, replace(new, version=version))
            is_files = False
        raise KeyExistsError(IN_FILE if is_files else "this key is registered already; change it")

    async def change(self, who: str, record: Record, subjects: Sequence[Subject]) -> Record:
        """Replace a key's record, that of its version if it has one. Raises `AccountError`s.

        A key that is revoked stays so.
        """
        self._check(record)

        def changed(before: Record) -> Record:
            if record.version and record.version != before.version:
                msg = "the record has changed meanwhile; look at it again"
                raise RecordChangedError(msg)
            gone = record.is_revoked or before.is_revoked
            subject, version = before.subject, before.version
            return replace(record, subject=subject, version=version, is_revoked=gone)

        return await self._change(who, "set", subjects, changed)

    async def revoke(self, who: str, subjects: Sequence[Subject]) -> Record:
        """Refuse a key from now on, and forget its alerts. Raises `KeyNotFoundError`, `StoreError`.

        Where it raises, it may be said again.
        """
        record = await self._change(
            who, "revoke", subjects, lambda before: replace(before, is_revoked=True)
        )
        if self._forget_alerts is not None:
            await self._forget_alerts(who, subjects)
        return record

    async def load(self, who: str, records: Sequence[Record]) -> int:
        """Write records, whatever was there; return how many. Raises `InvalidFieldsError`."""
        async for at, record in by_turns(enumerate(records)):
            try:
                self._check(record)
            except InvalidFieldsError as error:
                raise error.within(f"keys[{at}]") from None
            if in_policy(self._matchers, [record.subject]) is not None:
                raise KeyExistsError(f"keys[{at}]: {IN_FILE}")
        left = {record.subject: record for record in records}
        for _ in range(_ATTEMPTS):
            there = await self._records.get(list(left))
            before = {each.subject: each for each in there if each is not None}
            new = [
                replace(each, version=before[each.subject].version if each.subject in before else 0)
                for each in left.values()
            ]
            versions = await self._records.put(new)
            async for record, version in by_turns(zip(new, versions, strict=True)):
                if version != CONFLICT:
                    made = replace(record, version=version)
                    self._done(who, "import", before.get(record.subject), made)
                    del left[record.subject]
            if not left:
                return len(records)
        msg = "records change all the time; import again"
        raise RecordChangedError(msg)

    async def page(self, after: bytes, most: int, tier: str) -> tuple[Page, set[Subject]]:
        """Return records in order, and which of them are the policy file's."""
        page = await self._records.page(after, most, tier)
        return merged(page, self._matchers, after, most, tier)

    async def usage(self, subjects: Sequence[Subject]) -> Told:
        """Return how each limit of a key stands; charges nothing."""
        usage = await look(self._counters, await self._counted(subjects))
        callers = [*lookup.present(self._policies, subjects).values()]
        records = [caller.record for caller in callers if caller.record is not None]
        refusals = (caller.refusal for caller in callers)
        tier = records[0].tier if records else ""
        return Told(usage, tier, next(filter(None, refusals), ""))

    async def leases(self, subjects: Sequence[Subject]) -> list[leases.Held]:
        """Return what a key holds of each concurrency limit; changes nothing."""
        return await leases.look(self._counters, await self._counted(subjects))

    async def reset(self, who: str, subjects: Sequence[Subject], meter: str) -> Forgotten:
        """Forget what a key has used, see `resetting`. Raises `InvalidFieldsError`."""
        check_meter(meter, self._served())
        counted = await self._counted(subjects)
        before = await look(self._counters, counted)
        alone = await look(self._counters, [own(each) for each in counted])
        now, ops, forgotten = self._counters.clock(), [], []
        for each, found, its_own in zip(counted, before, alone, strict=True):
            is_own = its_own.standing.before >= found.standing.before
            if is_own and forgets(each.limit, meter):
                ops += refunds(each, now)
                forgotten.append(found)
        if ops:
            await self._counters.take(ops, self._new_id())
        used = {f"{each.domain} {each.limit.name}": each.standing.before for each in forgotten}
        tell(who, "reset", subjects[0], {"meter": meter or "all", **used}, {})
        return Forgotten(before, forgotten)

    @property
    def _matchers(self) -> Mapping[str, Matcher]:
        return self._policies.matchers

    def _check(self, record: Record) -> None:
        check(record, self._served(), self._counters.clock())

    def _served(self) -> list[Policy]:
        return [matcher.policy for matcher in self._matchers.values()]

    async def _change(
        self,
        who: str,
        what: str,
        subjects: Sequence[Subject],
        change: Callable[[Record], Record],
    ) -> Record:
        """Change a record, and again where somebody else did meanwhile."""
        for _ in range(_ATTEMPTS):
            before, is_files = await self.get(subjects)
            if is_files:
                raise AccountError(IN_FILE)
            after = change(before)
            (version,) = await self._records.put([after])
            if version != CONFLICT:
                return self._done(who, what, before, replace(after, version=version))
        msg = "the record changes all the time; try again"
        raise RecordChangedError(msg)

    def _done(self, who: str, what: str, before: Record | None, after: Record) -> Record:
        self._known.changed([after.subject])
        tell(who, what, after.subject, as_dict(before) if before else None, as_dict(after))
        return after

    async def _counted(self, subjects: Sequence[Subject]) -> list[Counted]:
        """Return each limit of a key by its domain, with its counter."""
        callers = await lookup.callers(self._policies, self._known, subjects)
        return [
            Counted(domain, limit, counter)
            for domain, caller in callers.items()
            for limit, counter in self._matchers[domain].counted(caller)
        ]
