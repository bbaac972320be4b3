"""Who gets what, in words: the shipped sample, and each kind of limit."""

import json

import pytest

from ratelimitd.devkit.samples import samples_dir
from ratelimitd.policy.explain import PolicyWords, as_json, explained
from ratelimitd.policy.load import load
from tests.support.policy_text import HASHER, policy


def _sample() -> PolicyWords:
    loaded = load(samples_dir() / "policy.yaml", HASHER)
    assert loaded.warnings == ()
    return explained(loaded.policies["agent-api"])


def test_the_shipped_policy_keeps_the_promise() -> None:
    """The tiers of the agent API's public documentation, to the letter."""
    tiers = {tier.name: tier for tier in _sample().tiers}
    promised = {
        "free": (100, 10, 2, 100_000),
        "pro": (1_000, 100, 10, 2_000_000),
        "team": (5_000, 500, 25, 10_000_000),
    }
    names = ("requests/hour", "requests/minute", "concurrent", "tokens/month")
    for name, amounts in promised.items():
        limits = [(limit.name, limit.amount) for limit in tiers[name].limits]
        assert limits == list(zip(names, amounts, strict=True))
    assert tiers["enterprise"].custom


def test_a_policy_says_what_becomes_of_strangers() -> None:
    """Keys that nobody registered, callers without a key, and whoever is exempt."""
    sample = _sample()
    assert sample.subject == "entry `api_key`, without its scheme `bearer`"
    assert sample.unregistered == "tier free, a counter for each key"
    assert sample.missing == "tier anonymous, a counter for each remote_address"
    assert sample.exempt == ("route is health",)
    refusing = explained(policy("subject: {default_tier: deny, missing: allow}"))
    assert (refusing.unregistered, refusing.missing) == ("refused", "no limits")


def test_keys_are_counted_and_shown_by_their_hash() -> None:
    """A key itself never leaves the policy file."""
    text = "keys: [{key: sk-a, tier: free}, {key: sk-b, tier: free, limits: {tokens: 5/month}}]"
    words = explained(policy(text))
    assert [tier.keys for tier in words.tiers] == [2]
    (own,) = words.keys
    assert own.key == HASHER.key("sk-b").hex()[:6]
    assert [limit.name for limit in own.limits] == ["requests/hour", "tokens/month"]
    assert "sk-" not in json.dumps(as_json(words))


@pytest.mark.parametrize(
    ("limit", "window"),
    [
        ("meter: requests, rate: 5/second", "each second"),
        ("meter: requests, rate: 5/week", "each week from Monday, 00:00 UTC"),
        ("meter: requests, rate: 5/month", "each month from the 1st, 00:00 UTC"),
        ("meter: requests, rate: 5/year", "each year from the 1st of January, 00:00 UTC"),
        ("meter: requests, rate: 5/90s", "every 90 seconds"),
        ("meter: requests, rate: 5/7d", "every 7 days"),
        ("meter: requests, rate: 5/hour, algorithm: sliding_window", "in any hour"),
        ("meter: requests, rate: 5/30s, algorithm: token_bucket", "spread evenly over 30 seconds"),
        ("meter: concurrent, amount: 5", "at once, each for 15 minutes at most"),
    ],
)
def test_windows_are_told_in_words(limit: str, window: str) -> None:
    """A reader sees when a limit begins anew without knowing the format."""
    words = explained(policy(f"tiers: {{free: {{limits: [{{{limit}}}]}}}}"))
    assert words.tiers[0].limits[0].window == window


def test_a_billing_day_is_told() -> None:
    """The key's months are not the calendar's."""
    text = "keys: [{key: k, tier: free, billing_day: 15, limits: {tokens: 5/month}}]"
    (own,) = explained(policy(text)).keys
    assert own.limits[1].window == "each month from day 15, 00:00 UTC"


def test_sharing_and_conditions_are_told() -> None:
    """Whose counter it is, and when it counts."""
    text = "limits: [{meter: requests, rate: 5/day, per: PER, when: {b: x*, a: ''}}]"
    told = {}
    for per in ("[subject]", "[org, model]", "[]"):
        words = explained(policy(f"tiers: {{free: {{{text.replace('PER', per)}}}}}"))
        limit = words.tiers[0].limits[0]
        told[per] = limit.shared_by
        assert limit.when == ("a is empty", "b like x*")
    assert told == {
        "[subject]": "each key",
        "[org, model]": "each model and org",
        "[]": "everyone together",
    }


def test_the_json_shape_is_stable() -> None:
    """Scripts read these names."""
    words = as_json(explained(policy("keys: [{key: k, tier: free, limits: {tokens: 5/day}}]")))
    assert list(words) == [
        *("domain", "subject", "unregistered", "missing", "exempt", "meters", "reservations"),
        *("tiers", "keys", "families", "report", "overrides", "on_store_failure"),
    ]
    assert list(words["tiers"][0]) == ["name", "custom", "keys", "limits"]
    assert list(words["keys"][0]) == ["key", "tier", "attributes", "billing_day", "limits"]
    assert list(words["keys"][0]["limits"][0]) == [
        *("name", "meter", "amount", "window", "algorithm", "burst", "shared_by", "when", "shadow")
    ]
