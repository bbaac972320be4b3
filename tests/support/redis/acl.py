"""Users who may do little, made on a running server: what a careful operator gives the limiter."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.support.redis.server import Server


class User(NamedTuple):
    """A user of one server."""

    name: str
    password: str
    url: str
    """`redis://NAME:PASSWORD@127.0.0.1:PORT`."""


def acl_user(
    server: Server, name: str = "limiter", *, commands: Iterable[str], keys: Iterable[str] = ("*",)
) -> User:
    """Make a user, or make it anew, who may use these commands on keys of these patterns only.

    A command is written as in an ACL rule without its sign: `evalsha`, `client|setname`, `@read`.
    """
    password = secrets.token_hex(8)
    rules = [*(f"+{command}" for command in commands), *(f"~{pattern}" for pattern in keys)]
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", name, "reset", "on", f">{password}", *rules)
    return User(name, password, f"redis://{name}:{password}@{server.address}")
