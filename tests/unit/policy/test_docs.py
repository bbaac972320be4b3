"""docs/policy.md keeps its word: its examples load, and its tables are complete."""

import re

import pytest

from ratelimitd.policy import codes
from ratelimitd.policy.load import load_text
from ratelimitd.policy.shape import json_schema
from ratelimitd.policy.show import shown
from tests.architecture.source import ROOT
from tests.support.policy_text import HASHER, faults, whole

PAGE = (ROOT / "docs" / "policy.md").read_text("utf-8")
EXAMPLES = re.findall(r"(?ms)^```yaml( whole)?\n(.*?)^```$", PAGE)


def test_there_is_an_example_for_every_word() -> None:
    """A word that is only told is a word half explained."""
    schema = json_schema()
    text = "\n".join(text for _, text in EXAMPLES)
    tables = [schema, *schema["$defs"].values()]
    words = {word for table in tables for word in table["properties"]}
    simple = {"overrides", "on_store_failure"}
    assert {word for word in words if f"{word}:" not in text} == simple
    assert all(f"`{word}`" in PAGE for word in words)


@pytest.mark.parametrize("index", range(len(EXAMPLES)))
def test_an_example_loads_without_a_warning(index: int) -> None:
    """Whoever copies it has a policy, or a part of one."""
    is_whole, text = EXAMPLES[index]
    complete = text if is_whole else _completed(text)
    assert load_text(complete, "policy.md", HASHER).warnings == ()


def _completed(text: str) -> str:
    """Complete an example, which may not have the tier that others default to."""
    return whole(text).replace("default_tier: free", _default(text), 1)


def _default(text: str) -> str:
    free = "tiers:" not in text or "  free:" in text
    return "default_tier: free" if free else "default_tier: deny"


def test_every_code_is_explained() -> None:
    """What `check` prints can be looked up."""
    told = dict(re.findall(r"(?m)^\| `([\w-]+)` \| (.*) \|$", PAGE.partition("\n## Faults\n")[2]))
    assert told == codes.CODES


def test_the_fault_that_is_shown_is_what_is_printed() -> None:
    """The page shows what a reader will see."""
    printed = shown(faults(whole("#\n#\ntiers:\n  free: {requests: [100/huor, 10/minute]}")))
    quoted = re.search(r"(?ms)^    bad-window .*?`hour`\?$", PAGE)
    assert quoted
    assert re.sub("(?m)^    ", "", quoted[0]) + "\n" == printed
