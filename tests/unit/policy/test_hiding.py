"""No message repeats an API key, wherever in a policy it was put by mistake."""

import pytest

from ratelimitd.policy.show import shown
from tests.support.policy_text import faults, loaded, marked, whole

KEY = "sk-live-4f9a"
MISTAKES = (
    "keys: [sk-live-4f9a]",
    'keys: ["sk-live-4f9a"]',
    "keys: {sk-live-4f9a: {tier: free}}",
    "keys: sk-live-4f9a",
    "keys: [sk-live-4f9a: {tier: free}]",
    "keys: [sk-live-4f9a: free]",
    "keys: [{api_key: sk-live-4f9a, tier: free}]",
    "keys: [{Key: sk-live-4f9a}]",
    "keys: [{keys: [sk-live-4f9a]}]",
    "keys: [{kye: sk-live-4f9a}]",
    "keys: [{key: [sk-live-4f9a], tier: free}]",
    "keys: [{key_hash: sk-live-4f9a, tier: free}]",
    "keys: [{key: k, tier: free, sk-live-4f9a: 1, sk-live-4f9a: 2}]",
    "keys: [{key: k, tier: free, sk-live-4f9a/x: 1}]",
    "keys: [{key: k, key: sk-live-4f9a, tier: free}]",
    "kyes: [{Key: sk-live-4f9a}]",
    "Keys: [sk-live-4f9a]",
    "keys: [{api_key: sk-live-4f9a, tier: free]",
    "keys: [sk-live-4f9a}",
    "exempt: [{api_key: sk-live-4f9a}]",
    'exempt: [{api_key: "sk-live-4f9a?", path: "a?b"}]',
    "tiers: {free: {limits: [{meter: requests, rate: 1/hour, when: {api_key: sk-live-4f9a}}]}}",
)


@pytest.mark.parametrize("text", MISTAKES)
def test_a_key_in_the_wrong_place_is_not_shown(text: str) -> None:
    """Neither in the quoted line nor in the message; the caret stays where the fault is."""
    assert KEY in text
    found = faults(whole(text))
    assert found
    assert KEY not in shown(found)
    assert KEY not in "".join(map(str, found))


def test_a_key_that_only_a_warning_is_about_is_not_shown() -> None:
    """A misspelt word is taken for an attribute, which is allowed."""
    (warning,) = loaded("keys: [{key: k, tier: free, Key: sk-live-4f9a}]").warnings
    assert warning.nearest == "key"
    assert KEY not in shown([warning])


def test_what_is_known_to_be_harmless_stays_readable() -> None:
    """A key's fields, also misspelt ones, its tier and its limits are shown as they stand."""
    line = "keys: [{key: §k, tier: gold, biling_day: 3, limits: {requests: 100/huor}}]"
    found = faults(whole(marked(line).text))
    assert {fault.source for fault in found} == {
        "keys: [{key: *, tier: gold, biling_day: *, limits: {requests: 100/huor}}]"
    }
    assert [fault.code for fault in found] == ["unknown-tier", "bad-window"]
