"""The limiter on a unix socket, beside Envoy on one machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.support.deployment import deploy
from tests.e2e.support.promised import HOUR, bearer, shown
from tests.e2e.support.waiting import room_in_window

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("transport", ["h2corn", "grpcio"])
async def test_envoy_asks_a_limiter_on_a_unix_socket(transport: str, tmp_path: Path) -> None:
    """`--listen unix:PATH` is what the ready line says, and what Envoy's configuration is given."""
    listen = f"unix:{tmp_path / 'limiter.sock'}"
    async with deploy(transport=transport, listen=listen) as deployment:
        await room_in_window(HOUR, 5)
        assert deployment.limiter.address == listen
        answers = [await deployment.edge.request(headers=bearer("demo-pro")) for _ in range(2)]
        assert [shown(answer).remaining for answer in answers] == [999, 998]
        assert await deployment.limiter.remaining("api_key=demo-pro") == 98
        assert await deployment.edge.outcomes() == {"ok": 2}
        assert await deployment.limiter.terminate() == 0
