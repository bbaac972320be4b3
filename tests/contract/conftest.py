"""Opens each store for the suites of this folder, and closes what they opened."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ratelimitd.clock import Clock
from ratelimitd.stores.ports import Counters
from tests.support.bench import Bench
from tests.support.stores import STORES


@pytest.fixture(params=sorted(STORES))
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """A fresh store of each kind at the beginning of 2022, which can open more of its kind."""
    opener = STORES[request.param]
    opened: list[Counters] = []

    async def make(clock: Clock, room: int) -> Counters:
        folder = tmp_path / str(len(opened))
        folder.mkdir()
        opened.append(await opener(clock, room, folder))
        return opened[-1]

    yield await Bench.open(make)
    for counters in opened:
        await counters.close()
