"""The order of the long runs: whatever is reported is measured first."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Write the report at the end."""
    items.sort(key=lambda item: item.name == "test_the_report_is_written")
