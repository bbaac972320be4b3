"""The paths that a proxy in front is told: those that a service serves, and no others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ratelimitd.rpc import served
from tests.rpc.support.serving import prepare

if TYPE_CHECKING:
    from pathlib import Path


def test_every_method_of_a_service_is_told_and_nothing_else(tmp_path: Path) -> None:
    """What is registered and what the descriptors say are the same."""
    assert sorted(served.paths()) == sorted(prepare("h2corn", tmp_path).handlers.paths())
