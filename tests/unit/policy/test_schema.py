"""The JSON Schema that editors use agrees with the loader."""

import json
from contextlib import suppress
from typing import Any

import pytest

from ratelimitd.devkit.samples import samples_dir
from ratelimitd.policy.faults import Report, Text
from ratelimitd.policy.shape import json_schema
from ratelimitd.policy.tree import Items, Table, Word, read
from tests.support.json_schema import accepts
from tests.support.policy_text import faults, marked, whole
from tests.unit.policy.bad_snippets import SHAPE, Bad

SCHEMA = json_schema()

GOOD = {
    "short": "tiers: {free: {requests: [100/hour, 5_000/7d], concurrent: 2, tokens: 2M/month}}",
    "long": "tiers: {free: {limits: [{meter: requests, rate: 10/second, algorithm: token_bucket,"
    " burst: 20, when: {route: invoke, retries: 3}, per: [org], name: burst, shadow: true}]}}",
    "held": "meters: {gpu: {lease: 30s}}\ntiers: {free: {limits: [{meter: gpu, amount: 1k}]}}",
    "reserved": "meters: {tokens: {kind: postpaid, reservation: 90s, on_expiry: release}}",
    "keys": "keys:\n  - {key: a, tier: free, org: 7, vip: true, limits: {requests: 1/hour}}\n"
    "  - {key_hash: 0123456789abcdef0123456789abcdef, tier: free, billing_day: 31,"
    " limits: [{meter: tokens, rate: 5/year}]}",
    "rest": "headers: {families: [ietf], report: requests/hour}\noverrides: true\n"
    "on_store_failure: error\nexempt: [{route: 'h*'}]",
}
"""Every word of the format, in policies that load."""

TOLERANT = {
    "bad-name": "words on the left of a colon, and an empty entry",
    "too-long": "a length in bytes",
    "bad-window": "a window's length, which a pattern cannot bound",
    "bad-duration": "as bad-window",
}
"""Codes whose faults the schema may let through, and why."""


def _json(text: str) -> Any:  # noqa: ANN401 - JSON
    """Return what an editor sees, which reads YAML 1.2: `yes` is text there, as it is here."""
    return _plain(read(Report(Text("policy.yaml", text))))


def _plain(node: object) -> Any:  # noqa: ANN401 - JSON
    if isinstance(node, Table):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, Items):
        return [_plain(item) for item in node]
    assert isinstance(node, Word)
    if not node.plain:
        return str(node)
    with suppress(ValueError):
        return json.loads(node or "null")
    return str(node)


@pytest.mark.parametrize("name", GOOD)
def test_the_schema_accepts_what_the_loader_accepts(name: str) -> None:
    """An editor never underlines a good policy."""
    assert not faults(whole(GOOD[name]))
    assert accepts(SCHEMA, _json(whole(GOOD[name])))


def test_the_schema_accepts_the_shipped_policy() -> None:
    """The sample is the first that anybody opens in an editor."""
    assert accepts(SCHEMA, _json((samples_dir() / "policy.yaml").read_text("utf-8")))


@pytest.mark.parametrize(
    "row", SHAPE, ids=[f"{row.code}-{number}" for number, row in enumerate(SHAPE)]
)
def test_the_schema_rejects_wrong_shapes(row: Bad) -> None:
    """What is wrong with a single word is underlined while it is typed."""
    assert not accepts(SCHEMA, _json(marked(row.policy).text)) or row.code in TOLERANT


def test_the_schema_describes_every_word() -> None:
    """The descriptions are the help that an editor shows."""
    tables = [SCHEMA, *SCHEMA["$defs"].values()]
    assert len(tables) == 6
    undescribed = [
        name
        for table in tables
        for name, word in table["properties"].items()
        if not (word.get("description") or "$ref" in word)
    ]
    assert undescribed == []
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
