"""Policies as text: what a test writes is completed to a whole policy, and `§` marks a place.

A row of a table so shows only what it is about, and where the caret belongs.
"""

import re
from typing import NamedTuple

from ratelimitd.errors import PolicyError
from ratelimitd.keys import Hasher
from ratelimitd.policy.faults import Fault, Place, faults_of
from ratelimitd.policy.load import Loaded, load_text
from ratelimitd.policy.spec import Policy

HASHER = Hasher(b"a secret of the tests")
FILE = "policy.yaml"
_REST = {
    "domain": "domain: d",
    "subject": "subject: {default_tier: free}",
    "tiers": "tiers: {free: {requests: 100/hour}}",
}


class Marked(NamedTuple):
    """A policy's text without its mark, and the marked place."""

    text: str
    place: Place


def whole(text: str) -> str:
    """Return the text with the parts that every policy has, below it where it lacks them."""
    missing = [line for word, line in _REST.items() if not re.search(rf"(?m)^§?{word}:", text)]
    return "\n".join([text, *missing, ""])


def marked(text: str) -> Marked:
    """Return the text without its `§` and the place where that stood."""
    before, mark, after = text.partition("§")
    assert mark, "no § in the text"
    line = before.count("\n") + 1
    return Marked(before + after, Place(FILE, line, len(before) - before.rfind("\n")))


def loaded(text: str) -> Loaded:
    """Return what the completed text loads to."""
    return load_text(whole(text), FILE, HASHER)


def policy(text: str) -> Policy:
    """Return the one policy of the completed text."""
    (found,) = loaded(text).policies.values()
    return found


def faults(text: str) -> tuple[Fault, ...]:
    """Return the faults of a text as it stands; none for a good one."""
    try:
        load_text(text, FILE, HASHER)
    except PolicyError as error:
        return faults_of(error)
    return ()
