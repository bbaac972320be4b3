"""Who asks: from a descriptor's key to its record, the limits that bind it, or its refusal.

Owns the subject rules, and that the policy file's own keys come before those of the registry. Pure;
what the registry knows is asked through its port.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from ratelimitd.policy.effective import effective_limits
from ratelimitd.policy.registry import ALWAYS
from ratelimitd.policy.spec import Verdict

if TYPE_CHECKING:
    from ratelimitd.keys import Hasher
    from ratelimitd.model import Limit, Subject
    from ratelimitd.policy.registry import Known, Registry
    from ratelimitd.policy.spec import Policy, Record

ADDRESS = "remote_address"
"""The entry that tells callers without a key apart."""
NOT_KNOWN = "API key cannot be checked at present"
_SPACE = re.compile(r"[ \t]+")
"""What may stand between a scheme and its key (RFC 9110's OWS)."""


class Caller(NamedTuple):
    """Who asks, as far as limits care."""

    subject: Subject
    limits: tuple[Limit, ...] = ()
    record: Record | None = None
    refusal: str = ""
    """Why this caller may not ask for anything; what has happened is counted all the same."""
    is_free: bool = False
    """Whether nothing limits it."""
    is_nobody: bool = False
    """Whether it is refused for having no record, so that nothing of it is counted either."""
    known: Known = ALWAYS
    """What of the registry this was concluded from."""
    cold: tuple[Subject, ...] = ()
    """Keys to look up first; then the rest says nothing."""


class Callers:
    """Knows the callers of one domain."""

    def __init__(self, policy: Policy, hasher: Hasher, registry: Registry | None = None) -> None:
        self._policy = policy
        self._hasher = hasher
        self._registry = registry

    def api_key(self, values: dict[str, str]) -> str:
        """Return the key that the subject's entry holds, without its scheme; empty if none.

        With a scheme, KEY and SCHEME KEY are all that holds one. An API that takes the second word
        of anything would honour a key in what is longer, and the rest could be invented at will.
        """
        rule = self._policy.subject
        value = values.get(rule.entry, "")
        if not rule.scheme:
            return value
        first, *rest = _SPACE.split(value.strip(" \t"))
        if first.lower() == rule.scheme:
            return rest[0] if len(rest) == 1 else ""
        return "" if rest else first

    def of(self, subject: Subject | None, api_key: str, address: str | None) -> Caller:
        """Return the caller of a subject, else of a key, else of an address."""
        if subject is not None:
            return self.known(subject)
        if not api_key:
            missing = self._policy.subject.missing
            return self._by(missing, self._hasher.address(address), "API key is missing")
        return self.known(self._hasher.key(api_key), *self._hasher.older(api_key))

    def known(self, subject: Subject, *older: Subject) -> Caller:
        """Return the caller of a key's hash; the hash may be an older secret's."""
        policy, both = self._policy, (subject, *older)
        record = next(filter(None, map(policy.records.get, both)), None)
        if record is not None:
            return self._recorded(record, ALWAYS)
        if self._registry is None:
            return self._unregistered(subject, ALWAYS)
        found = [(each, self._registry.known(each)) for each in both]
        cold = tuple(each for each, known in found if known is None)
        if cold:
            return Caller(subject, cold=cold)
        knowns = [known for _, known in found if known is not None]
        for known in knowns:
            record = known.under(policy)
            if record is not None:
                return self._recorded(record, known)
        return self._unregistered(subject, knowns[0])

    def _recorded(self, record: Record, known: Known) -> Caller:
        refusal = f"API key is {record.refusal}" if record.refusal else ""
        limits = effective_limits(self._policy, record)
        return Caller(record.subject, limits, record, refusal, known=known)

    def _unregistered(self, subject: Subject, known: Known) -> Caller:
        why = NOT_KNOWN if known.is_doubtful else "API key is not registered"
        return self._by(self._policy.subject.default_tier, subject, why)._replace(known=known)

    def _by(self, verdict: str | Verdict, subject: Subject, why: str) -> Caller:
        """Return a caller without a record: limited by a tier, free, or refused."""
        if verdict is Verdict.ALLOW:
            return Caller(subject, is_free=True)
        if verdict is Verdict.DENY:
            return Caller(subject, refusal=why, is_nobody=True)
        return Caller(subject, self._policy.tiers[verdict].limits)
