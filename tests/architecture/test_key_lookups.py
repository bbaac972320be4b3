"""API keys are looked up by their keyed hash only: no code compares one, or finds by one."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from tests.architecture.source import Source, assert_none, is_in, server

if TYPE_CHECKING:
    from collections.abc import Iterator

OURS = ("ratelimitd.cli", "ratelimitd.client", "ratelimitd.devkit")
"""What has a key of its own, and knows nobody else's."""
FINDING = {"get", "pop", "setdefault", "index", "count", "startswith", "endswith", "find"}
KEY = "api_key"


def _is_key(node: ast.AST) -> bool:
    return (isinstance(node, ast.Name) and node.id == KEY) or (
        isinstance(node, ast.Attribute) and node.attr == KEY
    )


def _looked_up(node: ast.AST) -> list[ast.expr]:
    """Return what a node compares, or finds something by."""
    if isinstance(node, ast.Compare):
        return [node.left, *node.comparators]
    if isinstance(node, ast.Subscript):
        return [node.slice]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return [*node.args, node.func.value] if node.func.attr in FINDING else []
    return []


def key_looked_up(source: Source) -> Iterator[str]:
    """Yield each comparison with a key, and each look-up by one."""
    if is_in(source.name, *OURS):
        return
    for node in ast.walk(source.tree):
        if any(map(_is_key, _looked_up(node))):
            yield f"{source.name}:{node.lineno}: look keys up by `Hasher.key`"  # type: ignore[attr-defined]


def test_no_key_is_looked_up() -> None:
    """What a key is compared with, byte by byte, can be told from how long that takes."""
    assert_none(fault for source in server() for fault in key_looked_up(source))


@pytest.mark.parametrize(
    "text",
    [
        "if api_key == known: ...",
        "if request.api_key in known: ...",
        "records[api_key]",
        "records.get(api_key)",
        "records.pop(message.api_key, None)",
        "api_key.startswith('sk-')",
    ],
)
def test_a_look_up_is_found(text: str) -> None:
    """The twin."""
    assert list(key_looked_up(Source(name="ratelimitd.accounts.known", text=text)))
