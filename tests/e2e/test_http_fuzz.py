"""No request by the customers' API's own document, nor against it, is more than it bears."""

import re

import pytest

from tests.e2e.support.api_fuzz import fuzz, limiter

EXAMPLES = 40
"""Of each operation; the long run is tests/soak/test_http_fuzz.py."""

BROKEN = """
from ratelimitd.http import alerts
plain = alerts.wished
alerts.wished = lambda wish: plain(wish if not wish.limit else wish.nothing)
"""
UNTOLD = """
from ratelimitd.http import alerts
from ratelimitd.http.problems import ProblemError
plain = alerts.wished
def wished(wish):
    if wish.limit == "":
        raise ProblemError(418)
    return plain(wish)
alerts.wished = wished
"""


async def test_no_request_is_a_server_error_and_each_answer_is_documented() -> None:
    """Statuses, media types, headers and bodies are those of the document; nothing is a 5xx."""
    async with limiter() as running:
        found = await fuzz(running, examples=EXAMPLES, seed=1)
        log = running.log.read_text("utf-8")
    assert not found.failed, found.report
    assert found.cases > 4 * EXAMPLES
    assert "level=error" not in log
    assert "Traceback" not in log


@pytest.mark.parametrize(
    ("plant", "told"), [(BROKEN, r"Server error.*: [1-9]"), (UNTOLD, r"Undocumented.*: [1-9]")]
)
async def test_a_planted_fault_is_found(plant: str, told: str) -> None:
    """A handler that fails where a limit is named; a status that the document has not."""
    async with limiter(plant) as running:
        found = await fuzz(running, examples=EXAMPLES, seed=1, phases="coverage")
    assert found.failed
    assert re.search(told, found.report), found.report
