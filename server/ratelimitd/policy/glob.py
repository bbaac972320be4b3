"""Patterns with `*`, in time linear in the value: values come from callers."""

from __future__ import annotations


def matches(pattern: str, value: str) -> bool:
    """Say whether the value is the pattern, where each `*` stands for any text, also none."""
    if "*" not in pattern:
        return pattern == value
    first, *middle, last = pattern.split("*")
    if len(value) < len(first) + len(last):
        return False
    if not (value.startswith(first) and value.endswith(last)):
        return False
    at, end = len(first), len(value) - len(last)
    for part in middle:
        found = value.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True
