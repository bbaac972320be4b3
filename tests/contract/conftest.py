"""Opens each store for the suites of this folder, and closes what they opened."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ratelimitd.clock import Clock
from ratelimitd.stores.ports import Store
from tests.support.bench import Bench
from tests.support.redis.sentinel import Watched, sentinel
from tests.support.redis.server import Server
from tests.support.stores import STORES, redis_opener

if TYPE_CHECKING:
    from tests.support.redis.cluster import Cluster

SERVERS = ("redis", "valkey", "sentinel")
"""Stores that are a server: one alone of that name, or one that Sentinels watch."""
FOR_EVER = -1
"""What Redis tells of a key without a lifetime; of one that has gone meanwhile it tells -2."""
CLUSTER = "cluster"
"""Three servers that share the slots. Their bound on invented counters is one for each bucket, of
which there is one here: the promises about it are exact."""


@pytest.fixture(scope="session")
def shared_sentinels() -> Iterator[Watched]:
    """A primary with its replica and three Sentinels, for the session."""
    with sentinel() as watched:
        yield watched


@pytest.fixture
def sentinel_server(shared_sentinels: Watched) -> Server:
    """The primary, empty."""
    shared_sentinels.primary.flush()
    return shared_sentinels.primary


@pytest.fixture(params=sorted((*STORES, *SERVERS, CLUSTER)))
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """A fresh store of each kind at the beginning of 2022, which can open more of its kind."""
    server: Server | None = None
    if request.param in SERVERS:
        server = request.getfixturevalue(f"{request.param}_server")
    url = server.url if server else ""
    if request.param == "sentinel":
        url = request.getfixturevalue("shared_sentinels").url
    several: Cluster | None = None
    if request.param == CLUSTER:
        several = request.getfixturevalue("redis_cluster")
    if several:
        opener = redis_opener(several.url, buckets=1)
    else:
        opener = redis_opener(url) if server else STORES[request.param]
    opened: list[Store] = []

    async def make(clock: Clock, room: int) -> Store:
        folder = tmp_path / str(len(opened))
        folder.mkdir()
        for shared in (server, several):
            if shared:
                shared.flush()
        opened.append(await opener(clock, room, folder))
        return opened[-1]

    yield await Bench.open(make)
    for counters in opened:
        await counters.close()
    for node in [server] if server else several.nodes if several else ():
        assert_all_expire(node)


def assert_all_expire(server: Server) -> None:
    """No key of counts stays for ever."""
    with server.client() as client:
        immortal = [key for key in client.scan_iter("rl1:*") if client.ttl(key) == FOR_EVER]
    assert not immortal
