"""Patterns with `*`."""

import pytest

from ratelimitd.policy.glob import matches


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        ("invoke", "invoke"),
        ("", ""),
        ("*", ""),
        ("*", "anything at all"),
        ("**", "x"),
        ("gpt-*", "gpt-"),
        ("gpt-*", "gpt-4o"),
        ("*-mini", "gpt-4o-mini"),
        ("gpt-*-mini", "gpt-4o-mini"),
        ("a*b*c", "abbbc"),
        ("a*b*b", "abb"),
        ("*ab*ab*", "xabab"),
        ("a.c", "a.c"),
        ("[a]", "[a]"),
        ("a*", "a\nb"),
        ("*é*", "caf\u00e9s"),
    ],
)
def test_a_pattern_matches(pattern: str, value: str) -> None:
    """Each `*` stands for any text, also none; every other sign for itself."""
    assert matches(pattern, value)


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        ("invoke", "Invoke"),
        ("invoke", "invoke/"),
        ("", "x"),
        ("gpt-*", "my-gpt-4"),
        ("*-mini", "gpt-mini-2"),
        ("ab*bc", "abc"),
        ("a*b*b", "ab"),
        ("*ab*ab*", "xaby"),
        ("a.c", "abc"),
        ("?", "a"),
        ("a*x*b", "ab"),
    ],
)
def test_a_pattern_does_not_match(pattern: str, value: str) -> None:
    """The whole value must fit; parts do not overlap; no other sign is special."""
    assert not matches(pattern, value)


def test_a_hostile_value_costs_no_more_than_its_length() -> None:
    """What backtracks exponentially elsewhere is one pass here: this returns at once."""
    assert not matches("*a" * 30 + "*b", "a" * 50_000)
