"""Who asks: the key behind its scheme, its record, and callers without either."""

import pytest

from ratelimitd.policy.matcher import Fate, Matcher, Reading
from ratelimitd.policy.spec import Policy, SubjectRule
from tests.support.ops import HOURLY, fixed
from tests.support.policies import HASHER, agent_api, describe, record, records


def reading(policy: Policy, *entries: str) -> Reading:
    """Read one descriptor."""
    return Matcher(policy, HASHER).read(describe(*entries))


def names(policy: Policy, *entries: str) -> list[str]:
    """Return the names of the limits that apply."""
    return [limit.name for limit, _ in reading(policy, *entries).plan.limits]


def keys(policy: Policy, *entries: str) -> list[bytes]:
    """Return the keys of the counters that are counted on."""
    return [counter.key for _, counter in reading(policy, *entries).plan.limits]


@pytest.mark.parametrize(
    "value",
    [
        "Bearer demo-pro",
        "bearer demo-pro",
        "BEARER demo-pro",
        "Bearer   demo-pro",
        "  Bearer demo-pro \t",
        "Bearer \tdemo-pro",
        "Bearer\tdemo-pro",
        "demo-pro",
        " demo-pro ",
    ],
)
def test_the_scheme_is_taken_off_whatever_its_spelling(value: str) -> None:
    """Schemes have no case (RFC 9110, 11.1); a value without one is the key (x-api-key)."""
    assert keys(agent_api(), f"api_key={value}")[0] == HASHER.key("demo-pro")


@pytest.mark.parametrize("value", ["Bearerdemo-pro", "demo-pro\u00a0x", "Basic:demo-pro"])
def test_one_word_is_a_key_whatever_it_looks_like(value: str) -> None:
    """Only what stands before a space or a tab is a scheme."""
    assert keys(agent_api(), f"api_key={value}")[0] == HASHER.key(value)


@pytest.mark.parametrize(
    "value",
    ["Bearer demo-pro x0", "Bearer\tdemo-pro\tx1", "demo-pro x", "Basic demo-pro", "x Bearer k"],
)
def test_more_words_than_a_scheme_and_a_key_are_no_key(value: str) -> None:
    """An API that honours one of the words would else have a new free key for each other one."""
    assert keys(agent_api(), f"api_key={value}")[0] == HASHER.address(None)


@pytest.mark.parametrize("value", ["", "Bearer", "bearer ", "Bearer  \t ", "   "])
def test_a_scheme_without_a_key_is_a_missing_key(value: str) -> None:
    """It is limited as a caller without one."""
    assert keys(agent_api(), f"api_key={value}")[0] == HASHER.address(None)


def test_without_a_scheme_the_value_is_the_key_as_it_is() -> None:
    """No case is folded and no space cut where the policy does not say so."""
    policy = agent_api(subject=SubjectRule(default_tier="free"))
    for value in ("Bearer x", " x", "X"):
        assert keys(policy, f"api_key={value}")[0] == HASHER.key(value)


def test_a_missing_key_is_counted_by_address_or_together() -> None:
    """One counter for each `remote_address`, else one shared by all."""
    policy = agent_api()
    ours, theirs = (keys(policy, f"remote_address=10.0.0.{last}")[0] for last in (1, 2))
    shared = keys(policy, "route=invoke")[0]
    assert len({ours, theirs, shared}) == 3
    assert keys(policy, "route=other")[0] == shared
    assert keys(policy, "api_key=k", "remote_address=10.0.0.1")[0] == HASHER.key("k")


def test_a_key_hashed_with_an_older_secret_keeps_its_record_and_its_counter() -> None:
    """A new secret locks nobody out, and starts nobody's count anew."""
    rotated = HASHER.__class__(b"new", b"a secret of the tests")
    plan = Matcher(agent_api(), rotated).read(describe("api_key=demo-pro")).plan
    assert [limit.amount for limit, _ in plan.limits] == [1000, 100]
    assert plan.limits[0][1].key == HASHER.key("demo-pro")


def test_a_records_limits_replace_all_of_its_tiers_limits_of_that_meter() -> None:
    """Own `requests` stand alone; tokens and leases stay the tier's."""
    own = (fixed(7, HOURLY),)
    policy = agent_api(records=records(record("k", "pro", limits=own)))
    assert names(policy, "api_key=k") == ["requests/hour"]
    assert names(policy, "api_key=k", "meter=tokens") == ["tokens/month"]


def test_a_meter_of_a_custom_tier_without_a_limit_is_unlimited() -> None:
    """`custom: true` binds by what the key's record carries."""
    policy = agent_api(records=records(record("k", "custom", limits=(fixed(7),))))
    assert names(policy, "api_key=k") == ["requests/hour"]
    assert reading(policy, "api_key=k", "meter=tokens").plan.fate is Fate.FREE


def test_a_billing_day_moves_the_calendar_windows_of_its_key() -> None:
    """Months begin on it; hours do not care."""
    policy = agent_api(records=records(record("k", "pro", billing_day=15)))
    plan = reading(policy, "api_key=k", "meter=tokens").plan
    assert [limit.window and limit.window.name for limit, _ in plan.limits] == ["month@15"]
    assert plan.limits[0][0].name == "tokens/month"
    assert plan.limits[0][1].family == "agent-api|tokens|month%4015|fixed_window||subject"
