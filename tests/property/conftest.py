"""How hypothesis runs here: the same examples everywhere and each time, so that CI tells the truth.

`--hypothesis-profile=search` looks for new ones, ten times as many, from a random seed.
"""

import pytest
from hypothesis import settings

settings.register_profile("laws", derandomize=True, deadline=None, database=None, max_examples=100)
settings.register_profile("search", deadline=None, max_examples=1000)


def pytest_configure(config: pytest.Config) -> None:
    """Choose the profile unless the command line did."""
    if not config.getoption("--hypothesis-profile", None):
        settings.load_profile("laws")
