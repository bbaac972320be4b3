"""What a large policy was read from, and the policy before, are freed bit by bit, and wholly."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from ratelimitd.app import Service
from ratelimitd.keys import Hasher
from ratelimitd.limiter import Limiter
from ratelimitd.policy.faults import Report, Text
from ratelimitd.policy.freeing import free_part, free_policies, free_text, free_tree
from ratelimitd.policy.load import load_text
from ratelimitd.policy.mend import validated
from ratelimitd.policy.tree import Items, Table, read
from ratelimitd.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from ratelimitd.policy.matcher import Matcher

POLICY = """
domain: test
subject: {entry: api_key, default_tier: free}
tiers: {free: {limits: [{meter: requests, rate: 5/hour, name: n}]}}
keys: [{key: sk-a, tier: free}, {key: sk-b, tier: free}]
"""
HASHER = Hasher(b"test")


def test_a_tree_is_emptied_to_its_leaves() -> None:
    """Tables and lists within it as well: whoever holds one of them holds nothing else."""
    root = read(Report(Text("policy.yaml", POLICY)))
    assert isinstance(root, Table)
    keys = root[root.word("keys")]
    assert isinstance(keys, Items)
    first = keys[0]
    free_tree(root)
    assert (root, keys, first) == ({}, [], {})


def test_parts_lose_their_long_lists() -> None:
    """Keys, and the limits of tiers; and the text forgets which spans it hides."""
    report = Report(Text("policy.yaml", POLICY))
    root = read(report)
    assert root is not None
    part = validated(root, report)
    assert part is not None
    assert (len(part.keys), len(report.text.hidden)) == (2, 2)
    free_part(part)
    free_text(report.text)
    assert not part.keys
    assert not any(tier.limits for tier in part.tiers.values())
    assert not report.text.hidden


def test_policies_are_held_no_longer() -> None:
    """The list that brought them is emptied, and their matchers are gone."""
    loaded = load_text(POLICY, "policy.yaml", HASHER)
    matchers = Limiter.matchers_of(_Bare(), loaded.policies.values())  # type: ignore[arg-type]
    gone = weakref.ref(matchers["test"])
    old = [(loaded, matchers)]
    del loaded, matchers
    free_policies(old)
    assert old == []
    assert gone() is None


class _Bare:
    """As much of a limiter as making matchers takes."""

    _hasher = HASHER
    _registry = None


async def test_a_reload_frees_the_policy_before(tmp_path: Path) -> None:
    """And the one that it reads is the one that is decided by, whole."""
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    service = Service(Settings(policy=path))
    gone: weakref.ref[Matcher] = weakref.ref(service.limiter.matchers["test"])
    await service.reload()
    assert gone() is None
    (policy,) = service.policy.policies.values()
    assert policy is service.limiter.matchers["test"].policy
    assert (len(policy.records), len(policy.tiers["free"].limits)) == (2, 1)
