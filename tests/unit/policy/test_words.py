"""What is written is what is meant: YAML 1.2, and no guessing beyond it."""

import pytest

from ratelimitd.keys import Hasher
from ratelimitd.model import Subject
from ratelimitd.policy.rates import MisreadError, read_rate
from ratelimitd.policy.spec import Policy, Record
from tests.support.policy_text import HASHER, faults, policy, whole


def _record(text: str) -> Record:
    (record,) = policy(f"keys: [{{{text}}}]").records.values()
    return record


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("no", "no"),
        ("012", "012"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("true", "true"),
        ("3.0", "3.0"),
        ("'null'", "null"),
        ("!!str 7", "7"),
        ("2026-01-01", "2026-01-01"),
    ],
)
def test_text_is_what_stands_there(written: str, meant: str) -> None:
    """Where text belongs, an unquoted word is itself: no booleans, octals, sexagesimals, dates."""
    assert _record(f"key: k, tier: free, org: {written}").attributes == {"org": meant}


def test_a_key_of_digits_keeps_its_zeros() -> None:
    """`key: 0123` is the key that a client sends as 0123."""
    assert _record("key: 0123, tier: free").subject == HASHER.key("0123")


def test_a_hash_stands_for_its_key() -> None:
    """A policy need not hold the key itself."""
    subject = HASHER.key("secret")
    assert _record(f"key_hash: {subject.hex()}, tier: free").subject == subject
    assert _record(f"key_hash: {'AB' * 16}, tier: free").subject == Subject(b"\xab" * 16)


def test_subjects_depend_on_the_secret() -> None:
    """The hasher that is handed in makes the subjects."""
    other = Hasher(b"another secret")
    assert _record("key: k, tier: free").subject != other.key("k")


@pytest.mark.parametrize(
    ("text", "amount", "window"),
    [
        ("100/hour", 100, "hour"),
        ("100_000/month", 100_000, "month"),
        ("2M/year", 2_000_000, "year"),
        ("10k/week", 10_000, "week"),
        ("012/day", 12, "day"),
        ("0/second", 0, "second"),
        ("5/60s", 5, "minute"),
        ("5/60m", 5, "hour"),
        ("5/24h", 5, "day"),
        ("5/1d", 5, "day"),
        ("5/7d", 5, "7d"),
        ("5/90s", 5, "90s"),
        ("5/120m", 5, "2h"),
        ("2", 2, None),
        ("9007199254740991/366d", 2**53 - 1, "366d"),
    ],
)
def test_a_rate_is_an_amount_in_a_window(text: str, amount: int, window: str | None) -> None:
    """Equal windows have one name, but a week (from Monday) is not any seven days."""
    rate = read_rate(text)
    assert (rate.amount, rate.window and rate.window.name) == (amount, window)


@pytest.mark.parametrize(
    "text", ["", "/", "/hour", "1/", "1//hour", "1_/hour", "_1/s", "1__0/day", "1kk/day", "1/h our"]
)
def test_what_is_no_rate_is_refused(text: str) -> None:
    """A typing error never becomes another limit."""
    with pytest.raises(MisreadError):
        read_rate(text)


def test_anchors_and_aliases_stand_for_what_they_name() -> None:
    """A policy may name a part once and use it again."""
    found = policy("tiers: {free: &same {requests: 1/hour}, pro: *same}").tiers
    assert [[limit.name for limit in tier.limits] for tier in found.values()] == [
        ["requests/hour"],
        ["requests/hour"],
    ]


def test_both_styles_of_yaml_and_windows_line_ends_are_read() -> None:
    """Block or flow, LF or CRLF: the same policy."""
    block = whole("keys:\n- key: k\n  tier: free\n")
    flow = whole("keys: [{key: k, tier: free}]")
    found = [_tiers_of_keys(text) for text in (block, flow, block.replace("\n", "\r\n"))]
    assert found == [["free"]] * 3


def _tiers_of_keys(text: str) -> list[str]:
    found: Policy = policy(text)
    return [record.tier for record in found.records.values()]


@pytest.mark.parametrize("place", ["key: {}", "key:\n    {}", '"key": "{}"', "key: >-\n      {}"])
def test_a_fault_beside_a_key_does_not_show_the_key(place: str) -> None:
    """Faults go to terminals and logs, where no API key belongs."""
    key = "sk-5ecret"
    for text in (
        f"keys:\n  - {place.format(key)}\n    tier: fre\n",
        f"keys:\n  - tier: fre\n    {place.format(key)}\n    billing_day: 40\n",
        f"keys:\n  - {{tier: free, org: [], key: {key}, limits: 3}}\n",
        f"keys:\n  - {{tier: free, key: {key}, limits: ]\n",
    ):
        found = faults(whole(text))
        assert found
        assert key not in repr(found)
