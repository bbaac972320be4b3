"""Freeing what is large a little at a time, so that a thread can do it beside decisions.

Python frees whatever it can reach in one go, and nobody else runs meanwhile: 0.2 s for what 100,000
keys are read from. Here the many are freed first, in a loop that others can come in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ratelimitd.policy.tree import Items, Table

if TYPE_CHECKING:
    from ratelimitd.policy.faults import Text
    from ratelimitd.policy.load import Loaded
    from ratelimitd.policy.matcher import Matcher
    from ratelimitd.policy.shape import PolicyPart

_AT_ONCE = 50
"""Values with all that they hold, in well under a millisecond."""


def free_tree(node: object) -> None:
    """Empty a file's tables and lists, the innermost first."""
    if isinstance(node, Table):
        while node:
            free_tree(node.popitem()[1])
    elif isinstance(node, Items):
        while node:
            free_tree(node.pop())


def free_part(part: PolicyPart) -> None:
    """Empty those lists of a file's parts that can be long."""
    _free(part.keys)
    for tier in part.tiers.values():
        _free(tier.limits)


def free_text(text: Text) -> None:
    """Forget where a text's keys are, once nobody quotes it any more."""
    _free(text.hidden)


def free_policies(old: list[tuple[Loaded, dict[str, Matcher]]]) -> None:
    """Free policies that nobody decides by any more; the list is emptied, to hold them no longer.

    Their matchers are of no use afterwards.
    """
    many: list[object] = []
    while old:
        loaded, matchers = old.pop()
        for policy in loaded.policies.values():
            many += policy.records.values()
            many += (limit for tier in policy.tiers.values() for limit in tier.limits)
            del policy
        while matchers:
            matchers.popitem()[1].forget()
        del loaded
    _free(many)


def _free(values: list[Any]) -> None:
    while values:
        del values[-_AT_ONCE:]
