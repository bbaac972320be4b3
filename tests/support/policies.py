"""The promised agent API as a `Policy` built by hand, and a limiter that serves it from memory.

Core tests ask the limiter without a policy file between, so that a fault of the loader cannot hide
one of the core.
"""

from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from ratelimitd.clock import ManualClock
from ratelimitd.decision import Decision
from ratelimitd.keys import Hasher
from ratelimitd.limiter import Limiter
from ratelimitd.model import Descriptor, Limit, Override, Question
from ratelimitd.policy.matcher import Matcher
from ratelimitd.policy.registry import Registry
from ratelimitd.policy.spec import Policy, Record, SubjectRule, Tier
from ratelimitd.stores.memory.counters import MemoryCounters
from tests.support.ops import (
    CONCURRENT,
    HOURLY,
    MINUTELY,
    MONTHLY,
    NEW_YEAR,
    REQUESTS,
    TOKENS,
    fixed,
    leases,
)
from tests.support.stores import at_once

HASHER = Hasher(b"a secret of the tests")
METERS = MappingProxyType({meter.name: meter for meter in (REQUESTS, TOKENS, CONCURRENT)})


def promised(hour: int, minute: int, held: int, tokens: int) -> tuple[Limit, ...]:
    """Return a tier's limits as the API's documentation lists them."""
    return (
        fixed(hour, HOURLY),
        fixed(minute, MINUTELY),
        leases(held),
        fixed(tokens, MONTHLY, TOKENS),
    )


TIERS = MappingProxyType(
    {
        "free": Tier(name="free", limits=promised(100, 10, 2, 100_000)),
        "pro": Tier(name="pro", limits=promised(1_000, 100, 10, 2_000_000)),
        "custom": Tier(name="custom", limits=(), custom=True),
    }
)


def record(key: str, tier: str, **fields: Any) -> Record:  # noqa: ANN401 - the record's own fields
    """Return what is known of a key."""
    return Record(subject=HASHER.key(key), tier=tier, **fields)


def records(*known: Record) -> MappingProxyType[Any, Record]:
    """Return records by their subjects."""
    return MappingProxyType({each.subject: each for each in known})


def agent_api(**changes: Any) -> Policy:  # noqa: ANN401 - the policy's own fields
    """Return the agent API's policy with some fields changed."""
    policy = Policy(
        domain="agent-api",
        subject=SubjectRule(scheme="bearer", default_tier="free", missing="free"),
        meters=METERS,
        tiers=TIERS,
        records=records(record("demo-free", "free"), record("demo-pro", "pro")),
        exempt=((("route", "health"),),),
        report="requests/hour",
    )
    return replace(policy, **changes)


def with_tier(*limits: Limit, **changes: Any) -> Policy:  # noqa: ANN401 - the policy's own fields
    """Return the agent API's policy where everybody has these limits and no others."""
    tiers = MappingProxyType({"free": Tier(name="free", limits=limits)})
    return agent_api(**{"tiers": tiers, "records": records(), "report": "", **changes})


def describe(
    *entries: str,
    hits: int | None = None,
    negative: bool = False,
    override: Override | None = None,
) -> Descriptor:
    """Return a descriptor of `name=value` entries."""
    pairs = tuple((name, value) for name, _, value in (entry.partition("=") for entry in entries))
    return Descriptor(entries=pairs, hits=hits, negative=negative, override=override)


class Service:
    """A limiter over a memory store, on a clock that the test moves."""

    def __init__(self, policy: Policy, now: int = NEW_YEAR, room: int = 1000) -> None:
        self.clock = ManualClock(now)
        self.counters = MemoryCounters(self.clock, room)
        self.events: list[str] = []
        self.leases = 0
        self.limiter = Limiter(
            [policy],
            self.counters,
            HASHER,
            new_lease=self._new_lease,
            on_event=lambda event, _: self.events.append(event),
        )
        self.domain = policy.domain

    def _new_lease(self) -> str:
        self.leases += 1
        return f"lease-{self.leases}"

    @property
    def matcher(self) -> Matcher:
        """The matcher of its one policy."""
        return self.limiter.matchers[self.domain]

    def decide(self, question: Question) -> Decision:
        """Ask a question."""
        return at_once(self.limiter.decide(question))

    def ask(self, *descriptors: Descriptor, hits: int = 0) -> Decision:
        """Ask about some descriptors in one call."""
        return self.decide(Question(self.domain, descriptors, hits))

    def say(self, *entries: str, hits: int | None = None, negative: bool = False) -> Decision:
        """Ask about one descriptor."""
        return self.ask(describe(*entries, hits=hits, negative=negative))

    def times(self, count: int, ask: Callable[[], Decision]) -> Decision:
        """Ask so many times, and return the last answer."""
        for _ in range(count - 1):
            ask()
        return ask()


class Present:
    """The policies of a test, as a limiter has them."""

    def __init__(self, *policies: Policy, known: Registry) -> None:
        self.matchers = {
            policy.domain: Matcher(policy, HASHER, registry=known) for policy in policies
        }
