"""docs/client.md keeps its word.

Each Python block runs against a real limiter and prints what the page says; the application of the
page is limited.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.architecture.source import ROOT
from tests.e2e.support.cli import serving
from tests.e2e.support.promised import MINUTE
from tests.e2e.support.waiting import room_in_window

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = (ROOT / "docs/client.md").read_text("utf-8")
DOCUMENTED = "127.0.0.1:8081"
PATIENT = "deadline=20"
"""In the place of the page's two seconds, for a machine that does much else."""


class Block(NamedTuple):
    """One Python block of the page, and what it prints there."""

    code: str
    printed: str


def blocks(page: str) -> list[Block]:
    """The page's Python blocks; a text block right behind one is what it prints."""
    found = re.findall(r"(?ms)^```python\n(.*?)^```$(?:\n\n^```text\n(.*?)^```$)?", page)
    return [Block(*each) for each in found]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A limiter with the shipped policy, which nobody has asked yet."""
    with serving() as limiter:
        yield limiter["grpc"]


def run(code: str, address: str) -> tuple[dict[str, Any], str]:
    """Run a block; return its names and what it printed."""
    asyncio.run(room_in_window(MINUTE, 15))
    assert DOCUMENTED in code
    code = code.replace(DOCUMENTED, address).replace("deadline=2", PATIENT)
    names: dict[str, Any] = {"__name__": "__main__"}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "docs/client.md", "exec"), names)
    return names, printed.getvalue()


@pytest.mark.parametrize("index", range(len(blocks(PAGE))))
def test_each_block_prints_what_the_page_says(address: str, index: int) -> None:
    """In the page's order, on one limiter."""
    block = blocks(PAGE)[index]
    assert run(block.code, address)[1] == block.printed


def test_the_application_of_the_page_is_limited(address: str) -> None:
    """Its headers are there, its tokens are reported, and its eleventh request is denied."""
    (code,) = (block.code for block in blocks(PAGE) if "RateLimitMiddleware" in block.code)
    names, _ = run(code, address)

    async def statuses() -> list[int]:
        sent: list[Any] = []

        async def send(message: Any) -> None:  # noqa: ANN401 - ASGI's own
            sent.append(message)

        headers = [(b"authorization", b"Bearer somebody")]
        scope = {"type": "http", "method": "POST", "path": "/v1", "headers": headers}
        for _ in range(11):
            await names["app"](scope, None, send)
        await names["limiter"].close()
        starts = [message for message in sent if message["type"] == "http.response.start"]
        assert dict(starts[0]["headers"])[b"x-ratelimit-limit"] == b"100"
        return [start["status"] for start in starts]

    assert asyncio.run(statuses()) == [200] * 10 + [429]


def test_the_page_shows_each_call() -> None:
    """Deciding, leases, reservations, asyncio, the middleware and the back-off have a block."""
    code = "\n".join(block.code for block in blocks(PAGE))
    for word in ("decide(", "lease(", "reserve(", "settle(", "AsyncLimiter", "Backoff", "peek="):
        assert word in code
    assert len(blocks(PAGE)) == 6


def test_a_wrong_page_would_be_found(address: str) -> None:
    """The twin: what a block prints is compared to the letter."""
    block = blocks(PAGE.replace("exceeds_limit\n```", "over_limit\n```"))[0]
    wrong = block.code.replace('"requests", 101', '"requests", 99')
    assert run(wrong, address)[1] != block.printed
