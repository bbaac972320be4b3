"""Who a customer is where there are several domains, and how each policy reads a key."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from ratelimitd.accounts.customers import Credential, Customers
from ratelimitd.accounts.known import KnownKeys
from ratelimitd.accounts.memory_records import MemoryRecords
from ratelimitd.clock import ManualClock
from ratelimitd.errors import InvalidFieldsError, StoreUnavailableError
from ratelimitd.policy.spec import Policy, SubjectRule, Verdict
from ratelimitd.stores.memory.counters import MemoryCounters
from tests.support.ops import NEW_YEAR
from tests.support.policies import HASHER, Present, agent_api, record


def domain(name: str, default: str | Verdict, *keys: str, scheme: str = "bearer") -> Policy:
    """Return a policy with these keys, that treats others so."""
    rule = SubjectRule(scheme=scheme, default_tier=default, missing=Verdict.DENY)
    records = {HASHER.key(key): record(key, "pro") for key in keys}
    return replace(agent_api(), domain=name, subject=rule, records=records)


@contextlib.asynccontextmanager
async def customers(*policies: Policy) -> AsyncIterator[Customers]:
    """Yield the customers of these policies."""
    clock = ManualClock(NEW_YEAR)
    known = KnownKeys(MemoryRecords(), clock)
    yield Customers(known, MemoryCounters(clock), HASHER, Present(*policies, known=known))


def shown(value: str, *, is_authorization: bool = True) -> Credential:
    """Return what a customer shows."""
    return Credential(value, is_authorization)


@pytest.mark.parametrize(
    ("key", "asked", "found"),
    [
        ("in-b", "", "b"),  # the first that knows it
        ("in-both", "", "b"),
        ("nobody", "", "a"),  # the first that limits it
        ("in-both", "c", "c"),
        ("nobody", "c", None),  # which denies whom it does not know
        ("in-b", "free", "free"),
    ],
)
async def test_the_domain_that_is_meant(key: str, asked: str, found: str | None) -> None:
    """One that is named, else the one that has most to say of the key."""
    policies = (
        domain("free", Verdict.ALLOW),
        domain("a", "free"),
        domain("b", "free", "in-b", "in-both"),
        domain("c", Verdict.DENY, "in-both"),
    )
    async with customers(*policies) as all_of_them:
        customer = await all_of_them.find(shown(f"Bearer {key}"), asked)
        assert (customer and customer.domain) == found
        if customer is not None:
            usage = await all_of_them.usage(customer)
            assert (usage.requests is None) == (found == "free")


async def test_a_domain_that_is_none_is_told_to_who_has_a_key() -> None:
    """And to nobody else: who is no customer learns nothing of domains."""
    async with customers(domain("a", Verdict.DENY, "mine")) as some:
        with pytest.raises(InvalidFieldsError, match="domain"):
            await some.find(shown("Bearer mine"), "elsewhere")
        assert await some.find(shown("Bearer other"), "elsewhere") is None


@pytest.mark.parametrize(
    ("scheme", "value", "is_authorization", "known"),
    [
        ("bearer", "Bearer mine", True, True),
        ("bearer", "mine", False, True),
        ("bearer", "Basic mine", True, False),
        ("token", "Token mine", True, True),
        ("token", "Bearer mine", True, False),
        ("", "mine", False, True),
        ("", "Bearer mine", True, True),
        ("", "Bearer mine", False, False),
        ("bearer", "", True, False),
        ("", "", False, False),
        ("", "Bearer", True, False),
    ],
)
async def test_a_key_is_read_as_the_policy_reads_it(
    scheme: str, value: str, is_authorization: bool, known: bool
) -> None:
    """By its scheme; without one, all of Authorization, else what stands behind `Bearer`."""
    async with customers(domain("a", Verdict.DENY, "mine", scheme=scheme)) as some:
        found = await some.find(Credential(value, is_authorization))
        assert (found is not None) is known


async def test_without_a_scheme_the_key_is_what_is_counted() -> None:
    """The whole value, as Envoy shows it, unless only what is behind the scheme is known."""
    async with customers(domain("a", "free", "mine", "Bearer whole", scheme="")) as some:
        for value, key in (
            ("Bearer mine", "mine"),
            ("Bearer whole", "Bearer whole"),
            ("Bearer nobody", "Bearer nobody"),
        ):
            found = await some.find(shown(value))
            assert found is not None
            assert found.subjects == (HASHER.key(key),)


async def test_a_revoked_key_is_no_newcomer_by_another_spelling() -> None:
    """Without a scheme, all of the value could be a key that nobody has registered."""
    gone = {HASHER.key("gone"): record("gone", "pro", refusal="revoked")}
    async with customers(replace(domain("a", "free", scheme=""), records=gone)) as some:
        assert await some.find(shown("Bearer gone")) is None
        assert await some.find(shown("Bearer nobody")) is not None


async def test_a_policy_that_is_read_again_meanwhile_takes_no_answer_away() -> None:
    """A customer is served by the policy that it was found by, though its domain is gone."""
    clock = ManualClock(NEW_YEAR)
    known = KnownKeys(MemoryRecords(), clock)
    present = Present(domain("a", "free", "mine"), known=known)
    some = Customers(known, MemoryCounters(clock), HASHER, present)
    found = await some.find(shown("Bearer mine"))
    assert found is not None
    present.matchers = {}
    usage = await some.usage(found)
    assert usage.requests is not None
    assert usage.requests.limit.amount == 1_000


async def test_a_key_of_which_nobody_can_tell_is_no_wrong_key() -> None:
    """The registry is away: try again, instead of: you are nobody."""

    class Away(KnownKeys):
        """Knows that it knows nothing."""

        async def fetch(self, subjects: object) -> None:
            """Give up at once."""
            for subject in subjects:  # type: ignore[attr-defined]
                self._make_do(subject)

    clock = ManualClock(NEW_YEAR)
    known = Away(MemoryRecords(), clock)
    present = Present(domain("a", Verdict.DENY), known=known)
    some = Customers(known, MemoryCounters(clock), HASHER, present)
    with pytest.raises(StoreUnavailableError):
        await some.find(shown("Bearer mine"))
