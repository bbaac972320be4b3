"""Ten thousand requests at random, each of which holds a lease; an Envoy killed in each thousand.

What `tests/e2e/test_lifecycles.py` shows for one seed, and its twins, holds for ten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.support.counting import STORES, store_of
from tests.e2e.support.lifecycle_load import AT_ONCE, LEASE, live
from tests.e2e.test_lifecycles import REQUESTS, tell
from tests.robustness.outcomes import TRANSPORTS

if TYPE_CHECKING:
    from pathlib import Path

SEEDS = 10


@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_no_key_has_a_third_request_in_ten_thousand(
    transport: str, kind: str, tmp_path: Path
) -> None:
    """And what is held comes back within a lease's lifetime, each time."""
    with store_of(kind) as store:
        most = 0
        for seed in range(SEEDS):
            folder = tmp_path / str(seed)
            folder.mkdir()
            lives = await live(seed, REQUESTS, folder, transport=transport, store=store)
            tell(lives, seed)
            most = max(most, lives.deepest)
            assert most <= AT_ONCE, f"seed {seed}"
            assert lives.emptied < LEASE + 4, f"seed {seed}"
        assert most == AT_ONCE
