"""What every level shares: the event loop that production uses, and what a machine must have.

How tests are laid out and import each other is told in tests/__init__.py.
"""

import os

import pytest

from tests.support.interpreters import has_libpython
from tests.support.loops import Loop

pytest_plugins = ("tests.support.redis.fixtures",)

WITHOUT_LIBPYTHON = (
    "no shared libpython here (Debian: libpython3.11), which Envoy needs to run Python: "
    "the tests of the transport pyvoy are left out"
)
PROCESSES = ("tests/e2e/", "tests/robustness/", "tests/soak/")


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, type[Loop]]]:
    """The loop of production is the loop of the tests."""
    return "asyncio", {"loop_factory": Loop}


def leaves_pyvoy_out() -> bool:
    """Say whether this machine cannot run the transport pyvoy, and is not CI, which must."""
    return not has_libpython() and "CI" not in os.environ


def pytest_report_header() -> list[str]:
    """Say what a machine lacks, where everybody sees it."""
    return [WITHOUT_LIBPYTHON] if leaves_pyvoy_out() else []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what this machine cannot run; the closing line counts it as deselected."""
    if not leaves_pyvoy_out():
        return
    out = [item for item in items if item.nodeid.startswith(PROCESSES) and "pyvoy" in item.nodeid]
    config.hook.pytest_deselected(items=out)
    items[:] = [item for item in items if item not in out]
