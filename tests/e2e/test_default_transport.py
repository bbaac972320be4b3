"""What carries calls where nobody says it: the fastest transport that passes the suite, if it can.

docs/adr/0008-default-transport.md.
"""

from __future__ import annotations

import pytest

from tests.e2e.support.limiter import run_limiter
from tests.support.interpreters import interpreter


@pytest.mark.parametrize(
    ("installed", "chosen"), [("pyvoy", "pyvoy"), ("h2corn", "h2corn")], ids=["with", "without"]
)
async def test_pyvoy_is_the_default_where_it_is_installed(
    installed: str, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`auto` is pyvoy in the environment that has the extra, h2corn in the one that has not.

    It decides calls, says in its log what carries them, and ends well.
    """
    monkeypatch.setattr("tests.e2e.support.limiter.interpreter", lambda _: interpreter(installed))
    async with run_limiter(transport="auto") as limiter:
        await limiter.charge(1, api_key="Bearer demo-free", route="invoke")
        assert f"calls are carried by {chosen}" in limiter.log.read_text("utf-8")
        assert await limiter.terminate() == 0
