"""Thousands of requests to the customers' API by its document, by several seeds."""

from __future__ import annotations

import pytest

from tests.e2e.support.api_fuzz import fuzz, limiter

EXAMPLES = 1_000


@pytest.mark.parametrize("seed", range(3))
async def test_no_request_of_thousands_is_a_server_error(seed: int) -> None:
    """As tests/e2e/test_http_fuzz.py, for longer."""
    async with limiter() as running:
        found = await fuzz(running, examples=EXAMPLES, seed=seed)
    print(f"seed {seed}: {found.cases} requests")
    assert not found.failed, found.report
    assert found.cases > 2 * EXAMPLES
