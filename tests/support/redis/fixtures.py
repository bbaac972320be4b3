"""Servers as fixtures; tests/conftest.py makes them known to every test.

`redis_server`, `valkey_server` and `any_server` (both in turn) serve the whole session and are
empty when a test begins. A test that pauses or kills one, or changes its settings, takes an
`own_…`: nobody else sees that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.redis.binaries import ENGINES, Engine
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
