"""Where what is kept beside the counts can be kept: the kinds, and the servers of some of them."""

from typing import TYPE_CHECKING

import pytest

from tests.support.redis.acl import documented_user

if TYPE_CHECKING:
    from tests.support.redis.cluster import Cluster
    from tests.support.redis.server import Server

KINDS = ("memory", "file", "redis", "valkey", "cluster", "documented user")
"""Of outboxes and registries. The last is a Redis where a user may do what docs/redis.md says."""


def url_of(kind: str, request: pytest.FixtureRequest) -> str:
    """Return the URL of an empty server, or of the cluster."""
    if kind == "documented user":
        return documented_user(request.getfixturevalue("redis_server")).url
    fixture = "redis_cluster" if kind == "cluster" else f"{kind}_server"
    server: Server | Cluster = request.getfixturevalue(fixture)
    return server.url
