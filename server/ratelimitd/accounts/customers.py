"""What a customer may know of its own key: how each of its limits stands, in the promised words.

The use case behind the customers' API. Owns how a key is read from what a customer shows, which
domain is meant, and which limits are the promised `requests` and `tokens`. Charges nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ratelimitd.accounts import lookup
from ratelimitd.accounts.usage import Counted, Usage, look
from ratelimitd.decision import length, tightest
from ratelimitd.errors import InvalidFieldsError, StoreUnavailableError
from ratelimitd.model import Algorithm, Unit, Window
from ratelimitd.policy.callers import NOT_KNOWN
from ratelimitd.policy.spec import DEFAULT_METER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratelimitd.keys import Hasher
    from ratelimitd.model import Subject
    from ratelimitd.policy.callers import Caller
    from ratelimitd.policy.matcher import Matcher
    from ratelimitd.policy.registry import Registry
    from ratelimitd.stores.ports import Store

TOKENS = "tokens"
"""The meter of the promised `tokens`."""
_SCHEME = "bearer"


class Credential(NamedTuple):
    """What a customer shows to be known by."""

    value: str
    """A header's value; bytes that are not UTF-8 stand as lone surrogates."""
    is_authorization: bool
    """Whether the header was Authorization, whose scheme HTTP demands."""


class Customer(NamedTuple):
    """A key that is served."""

    subjects: tuple[Subject, ...]
    """The hashes that it may be known by, the present one first."""
    domain: str
    matcher: Matcher
    """The domain's, of the policy that it was found by: the present one may no longer have it."""
    caller: Caller


class Overview(NamedTuple):
    """How a key stands."""

    period: int
    """The start of the tokens' window, else of the calendar month, microseconds."""
    requests: Usage | None
    """The limit that headers report; None: the meter has none."""
    tokens: Usage | None
    """The longest limit of tokens; None: there is none."""
    limits: Sequence[Usage]
    """Each limit that the key alone, or with its attributes, is counted by; no shadow limits."""


class Customers:
    """See the module."""

    def __init__(
        self, registry: Registry, counters: Store, hasher: Hasher, policies: lookup.Policies
    ) -> None:
        self._registry = registry
        self._counters = counters
        self._hasher = hasher
        self._policies = policies

    def reader(self, credential: Credential) -> Subject:
        """Return whose reading this is, before anybody knows whether it may."""
        return self._hasher.key(_unwrapped(credential.value))

    async def find(self, credential: Credential, domain: str = "") -> Customer | None:
        """Return the customer; None: the key is missing, unknown, refused, or no key at all.

        Without a domain, the first that knows the key, else the first that limits it, else the
        first that lets it pass. Raises `InvalidFieldsError` for a domain that no policy has, and
        `StoreUnavailableError` where nobody can tell whether the key is good.
        """
        found = [
            customer
            for name, matcher in self._policies.matchers.items()
            if (customer := await self._in(name, matcher, credential)) is not None
        ]
        if not found:
            return None
        if domain and domain not in self._policies.matchers:
            raise InvalidFieldsError.of(("domain", "no policy has this domain"))
        if domain:
            return next((each for each in found if each.domain == domain), None)
        return max(found, key=lambda each: (_is_recorded(each), bool(each.caller.limits)))

    async def usage(self, customer: Customer) -> Overview:
        """Return how the customer's limits stand. Raises `StoreError`."""
        _, domain, matcher, caller = customer
        counted = [
            Counted(domain, limit, counter)
            for limit, counter in matcher.counted(caller)
            if not limit.shadow
        ]
        found = await look(self._counters, counted)
        requests = _of_meter(found, matcher.report_meter or DEFAULT_METER, matcher.policy.report)
        tokens = _of_meter(found, TOKENS)
        return Overview(self._period(tokens), requests, tokens, found)

    def _period(self, tokens: Usage | None) -> int:
        if tokens is None or tokens.limit.window is None:
            return Window.of(Unit.MONTH).span(self._counters.clock()).start
        is_fixed = tokens.limit.algorithm is Algorithm.FIXED_WINDOW
        within = tokens.standing.reset_at - 1 if is_fixed else self._counters.clock()
        return tokens.limit.window.span(within).start

    async def _in(self, domain: str, matcher: Matcher, shown: Credential) -> Customer | None:
        """Return the customer that this domain knows, if it serves the key."""
        found = [await self._by(key, domain, matcher) for key in _keys(matcher, shown)]
        if not found:
            return None
        best = max(found, key=lambda each: (_is_recorded(each), not each.caller.refusal))
        if not _is_recorded(best) and any(each.caller.refusal == NOT_KNOWN for each in found):
            raise StoreUnavailableError(NOT_KNOWN)
        return None if best.caller.refusal else best

    async def _by(self, key: str, domain: str, matcher: Matcher) -> Customer:
        subjects = (self._hasher.key(key), *self._hasher.older(key))
        await lookup.callers(self._policies, self._registry, subjects)
        return Customer(subjects, domain, matcher, matcher.callers.known(*subjects))


def _of_meter(found: Sequence[Usage], meter: str, name: str = "") -> Usage | None:
    """Return a meter's limit of a name, else of its longest window; of several the tightest."""
    own = [each for each in found if each.limit.meter.name == meter]
    named = [each for each in own if each.limit.name == name]
    general = [each for each in own if not each.limit.when] or own
    longest = max((length(each.limit) for each in general), default=0)
    chosen = named or [each for each in general if length(each.limit) == longest]
    if not chosen:
        return None
    shown = tightest([each.standing for each in chosen])
    return next(each for each in chosen if each.standing is shown)


def _is_recorded(customer: Customer) -> bool:
    return customer.caller.record is not None


def _keys(matcher: Matcher, shown: Credential) -> list[str]:
    """Return the keys that a header may mean: what the domain's limits read in it.

    To a policy without a scheme, all of `Bearer KEY` is the key where Envoy shows it that header,
    and KEY alone where a service took it out.
    """
    rule = matcher.policy.subject
    read = [matcher.callers.api_key({rule.entry: shown.value})]
    if shown.is_authorization and not rule.scheme:
        read.append(_unwrapped(shown.value))
    return [key for key in dict.fromkeys(read) if key]


def _unwrapped(value: str) -> str:
    """Return a value without the scheme before it."""
    scheme, _, rest = value.strip(" \t").partition(" ")
    return rest.strip(" \t") if scheme.lower() == _SCHEME else value
