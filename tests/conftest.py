"""What every level shares: the event loop that production uses, and nothing else.

How tests are laid out and import each other is told in tests/__init__.py.
"""

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The loop of production is the loop of the tests."""
    return "asyncio", {"use_uvloop": True}
