"""Users who may do little, made on a running server: what a careful operator gives the limiter."""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.support.redis.server import Server


_DOC: Final = Path(__file__).parents[3] / "docs/redis.md"


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


def documented() -> tuple[list[str], list[str]]:
    """Return the commands and the patterns of keys that docs/redis.md gives a user."""
    text = _DOC.read_text("utf-8").partition("## The user it needs\n")[2].partition("\n## ")[0]
    rules = re.sub(r"^(?! {4}).*$", "", text, flags=re.MULTILINE).split()
    commands = [rule[1:] for rule in rules if rule.startswith("+")]
    return commands, [rule[1:] for rule in rules if rule.startswith("~")]


def documented_user(server: Server, *, without: str = "") -> User:
    """Make the user that docs/redis.md describes; `without`: but for that command.

    What was refused to users before is forgotten: tests share the server.
    """
    commands, keys = documented()
    with server.client() as client:
        client.acl_log_reset()
    return acl_user(server, commands=[each for each in commands if each != without], keys=keys)


def refused(server: Server) -> set[str]:
    """Return what users were refused: commands and keys."""
    with server.client() as client:
        return {str(entry["object"]) for entry in client.acl_log()}
