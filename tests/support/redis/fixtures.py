"""Servers as fixtures; tests/conftest.py makes them known to every test.

`redis_server`, `valkey_server` and `any_server` (both in turn) serve the whole session and are
empty when a test begins; so does `redis_cluster`. A test that changes settings, moves slots or
kills takes an `own_…`: nobody else sees that. What is not here (Valkey in a cluster, passwords) is
a context manager away: `cluster("valkey")`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.redis.binaries import ENGINES, Engine
from tests.support.redis.cluster import Cluster, cluster
from tests.support.redis.sentinel import Watched, sentinel
from tests.support.redis.server import Server, single

if TYPE_CHECKING:
    from collections.abc import Iterator


def emptied(server: Server) -> Server:
    """Bring a shared server into the state in which a test may have it."""
    if server.running:
        server.resume()
    else:
        server.restart()
    server.flush()
    return server


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[Server]:
    """One Redis for the session; tests take it as `redis_server`."""
    with single("redis") as server:
        yield server


@pytest.fixture(scope="session")
def shared_valkey() -> Iterator[Server]:
    """One Valkey for the session; tests take it as `valkey_server`."""
    with single("valkey") as server:
        yield server


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[Cluster]:
    """One cluster of Redis for the session; tests take it as `redis_cluster`."""
    with cluster("redis") as nodes:
        yield nodes


@pytest.fixture
def redis_server(shared_redis: Server) -> Server:
    """An empty Redis."""
    return emptied(shared_redis)


@pytest.fixture
def valkey_server(shared_valkey: Server) -> Server:
    """An empty Valkey."""
    return emptied(shared_valkey)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each kind of server by its name."""
    name: Engine = request.param
    return name


@pytest.fixture
def any_server(engine: Engine, request: pytest.FixtureRequest) -> Server:
    """An empty server of each kind."""
    server: Server = request.getfixturevalue(f"{engine}_server")
    return server


@pytest.fixture
def own_redis() -> Iterator[Server]:
    """A Redis of the test's own."""
    with single("redis") as server:
        yield server


@pytest.fixture
def own_server(engine: Engine) -> Iterator[Server]:
    """A server of each kind, the test's own."""
    with single(engine) as server:
        yield server


@pytest.fixture
def redis_cluster(shared_cluster: Cluster) -> Cluster:
    """An empty cluster of three primaries, whose slots stay where they are."""
    for node in shared_cluster.nodes:
        emptied(node)
    shared_cluster.settle()
    return shared_cluster


@pytest.fixture
def own_cluster() -> Iterator[Cluster]:
    """A cluster of Redis, the test's own; 2.5 s."""
    with cluster("redis") as nodes:
        yield nodes


@pytest.fixture
def own_sentinels() -> Iterator[Watched]:
    """A primary with one replica, watched by three Sentinels, the test's own; 3 s."""
    with sentinel("redis") as watched:
        yield watched
