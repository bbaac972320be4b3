"""Rules that no request can meet, and rules that look where they should not.

Owns the cases that count as `never-matches` (docs/policy.md lists them). Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ratelimitd.keys import LONGEST_VALUE, too_long
from ratelimitd.policy.checks import width_of
from ratelimitd.policy.glob import matches
from ratelimitd.policy.spec import CONTROL_ENTRIES, DEFAULT_METER, PATHS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ratelimitd.policy.faults import Report
    from ratelimitd.policy.tree import Word

Conditions = tuple[tuple[str, str], ...]

_NO_ENTRY = {
    "subject": "`subject` stands in `per` only; match on the entry or on an attribute",
    "lease": "a lease's id is the limiter's own and never the same twice; no rule sees it",
}


class Scope(NamedTuple):
    """What rules are judged against."""

    report: Report
    entry: str
    """The subject's entry."""
    attributes: frozenset[str]
    """Names that come from records, never from the wire."""
    exempt: tuple[Conditions, ...] = ()


def check_conditions(scope: Scope, when: Mapping[Word, Word]) -> None:
    """Report each condition that no value meets, on the caller's key, or on a control entry."""
    for name, pattern in when.items():
        why = _NO_ENTRY.get(name) or _never(name, pattern)
        if name == scope.entry:
            scope.report.text.hide(pattern.at, pattern.end)
            text = "This would write API keys into the store; give such keys a tier or an attribute"
            scope.report.fault("key-in-rule", name.at, text, width=len(name))
        elif why:
            scope.report.fault("never-matches", pattern.at, f"This never matches: {why}")
        elif name in CONTROL_ENTRIES:
            text = f"`{name}` steers the limiter; rules are better made of other entries"
            scope.report.warn("control-entry", name.at, text, width=len(name))


def _never(name: str, pattern: str) -> str:
    if too_long(pattern.replace("*", "")):
        return f"a value over {LONGEST_VALUE} bytes reaches the rules as a digest"
    if name in PATHS and "?" in pattern:
        return "a path is matched without its query; end the pattern before the `?`"
    return ""


def check_exemption(scope: Scope, when: Mapping[Word, Word], at: int) -> None:
    """Report an exemption that frees nothing, or nothing more than those above."""
    check_conditions(scope, when)
    for name in when:
        if name in scope.attributes:
            text = f"`{name}` is an attribute of keys, and an exemption sees entries only"
            scope.report.fault("never-matches", name.at, text, width=len(name))
    mine = tuple(when.items())
    if when and any(_covers(earlier, mine, "") for earlier in scope.exempt):
        scope.report.warn("covered-rule", at, "An exemption above frees this already; remove it")


def check_limit(scope: Scope, when: Mapping[Word, Word], meter: Word) -> None:
    """Report a limit that contradicts its own meter, or that an exemption always comes before."""
    check_conditions(scope, when)
    for name, pattern in when.items():
        if name == "meter" and not matches(pattern, meter):
            text = f"This never matches: the limit counts `{meter}`, so the entry `meter` says that"
            scope.report.fault("never-matches", pattern.at, text, width=width_of(pattern))
    mine = tuple(when.items())
    if any(_covers(rule, mine, meter) for rule in scope.exempt):
        text = "This never matches: an exemption frees every request that would meet it"
        at = next(iter(when.values())).at if when else meter.at
        scope.report.fault("never-matches", at, text)


def check_own(scope: Scope, when: Mapping[Word, Word], attributes: Mapping[str, str]) -> None:
    """Report a key's own limit that the key's attributes never meet."""
    for name, pattern in when.items():
        if name not in scope.attributes:
            continue
        if name in attributes and matches(pattern, attributes[name]):
            continue
        has = f"`{attributes[name]}`" if name in attributes else "absent"
        text = f"This never matches: `{name}` of this key is {has}"
        scope.report.fault("never-matches", pattern.at, text, width=width_of(pattern))


def _covers(rule: Conditions, conditions: Conditions, meter: str) -> bool:
    """Say whether whatever meets the conditions also meets the rule."""
    known = dict(conditions)
    if meter and meter != DEFAULT_METER:
        known["meter"] = meter
    # A pattern covers another exactly if it matches it as text: only a `*` matches a `*`.
    return bool(rule) and all(
        name in known and matches(pattern, known[name]) for name, pattern in rule
    )
