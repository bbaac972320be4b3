"""A primary, its replicas, and three Sentinels that watch them: `sentinel()`.

Failover is quick, and so it is jumpy: a primary that is silent for a second counts as down. A test
waits for what it wants to see, and not for a time.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Final

from tests.support.redis.binaries import Engine, binary
from tests.support.redis.daemon import LOOPBACK, Daemon, wait_for
from tests.support.redis.server import Server, single

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SERVICE: Final = "limits"
_SENTINELS: Final = 3
_QUORUM: Final = 2
_FAILOVER_WITHIN: Final = 60.0
"""Seconds. It takes one to three; on a busy machine an election may have to be held again."""


class Sentinel(Daemon):
    """One Sentinel. It keeps what it learns in its configuration, so a restart forgets nothing."""

    def __init__(self, primary: Server, down_after_ms: int, password: str | None) -> None:
        super().__init__((str(binary(primary.engine)),), password)
        self._primary = primary.port
        self._watching = {
            "down-after-milliseconds": str(down_after_ms),
            "failover-timeout": "3000",
            "parallel-syncs": "1",
        }
        if primary.password:
            self._watching["auth-pass"] = primary.password

    def arguments(self) -> tuple[str, ...]:
        """Return its configuration file, written when it first tries a port."""
        path = self.folder / f"{self.port}.conf"
        if not path.exists():
            lines = [f"bind {LOOPBACK}", f"port {self.port}", f"dir {self.folder}"]
            lines += [f"requirepass {self.password}"] if self.password else []
            lines += [f"sentinel monitor {SERVICE} {LOOPBACK} {self._primary} {_QUORUM}"]
            lines += [f"sentinel {what} {SERVICE} {how}" for what, how in self._watching.items()]
            path.write_text("\n".join(lines) + "\n", "utf-8")
        return (str(path), "--sentinel")

    def facts(self) -> dict[str, str]:
        """Return what it knows of the primary that it watches."""
        words = [word.decode() for word in self.ask("SENTINEL", "MASTER", SERVICE)]
        return dict(zip(words[::2], words[1::2], strict=True))

    def primary_port(self) -> int:
        """Return the port of whom it takes for the primary."""
        return int(self.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1])


class Watched:
    """Servers, and the Sentinels that agree on which of them is the primary."""

    def __init__(self, servers: Sequence[Server], sentinels: Sequence[Sentinel]) -> None:
        self.servers = tuple(servers)
        """The first primary and its replicas, in the order in which they were started."""
        self.sentinels = tuple(sentinels)
        self.service = SERVICE

    @property
    def url(self) -> str:
        """`redis+sentinel://HOST:PORT,HOST:PORT,HOST:PORT/limits`, without passwords."""
        return f"redis+sentinel://{','.join(one.address for one in self.sentinels)}/{SERVICE}"

    @property
    def primary(self) -> Server:
        """The primary of which the first Sentinel that answers tells its clients."""
        asked = next(one for one in self.sentinels if one.running)
        port = asked.primary_port()
        return next(server for server in self.servers if server.port == port)

    @property
    def replicas(self) -> tuple[Server, ...]:
        """The servers that run and are not the primary."""
        primary = self.primary
        return tuple(one for one in self.servers if one is not primary and one.running)

    def failover(self) -> Server:
        """Have a replica promoted, as an operator does; return the new primary once all know it."""
        before = self.primary
        wait_for(self._failover_accepted, "a Sentinel begins the failover")
        return self._new_primary(before)

    def kill_primary(self) -> Server:
        """Kill the primary; return the new one once all know it."""
        before = self.primary
        before.kill()
        return self._new_primary(before)

    def settle(self) -> None:
        """Wait until every Sentinel knows every other one and each replica.

        After a failover that takes ten seconds: so often they look at what has become of servers.
        """
        replicas = self.replicas
        for server in replicas:
            wait_for(partial(follows, server), f"{server.address} follows the primary")
        for one in self.sentinels:
            wait_for(partial(self._knows_all, one, len(replicas)), f"{one.address} knows everybody")

    def _failover_accepted(self) -> bool:
        return bool(self.sentinels[0].ask("SENTINEL", "FAILOVER", SERVICE))

    def _new_primary(self, before: Server) -> Server:
        for one in self.sentinels:
            if one.running:
                wait_for(
                    partial(_has_turned, one, before),
                    f"{one.address} knows a new primary",
                    within=_FAILOVER_WITHIN,
                )
        after = self.primary
        wait_for(lambda: after.ask("ROLE")[0] == b"master", f"{after.address} serves")
        return after

    def _knows_all(self, one: Sentinel, replicas: int) -> bool:
        facts = one.facts()
        return (
            int(facts["num-other-sentinels"]) == len(self.sentinels) - 1
            and int(facts["num-slaves"]) == replicas
            and facts["flags"] == "master"
        )


def _has_turned(one: Sentinel, before: Server) -> bool:
    return one.primary_port() != before.port


def follows(server: Server) -> bool:
    """Tell whether a replica has all that its primary has and hears of more."""
    role: list[bytes] = server.ask("ROLE")
    return role[0] == b"slave" and role[3] == b"connected"


@contextlib.contextmanager
def sentinel(
    engine: Engine = "redis",
    *,
    replicas: int = 1,
    down_after_ms: int = 1000,
    password: str | None = None,
    sentinel_password: str | None = None,
) -> Iterator[Watched]:
    """Run a primary with replicas and three Sentinels that know each other. Gone on exit."""
    with contextlib.ExitStack() as stack:
        at_once = ("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0")
        primary = stack.enter_context(single(engine, *at_once, password=password))
        follow = ("--replicaof", LOOPBACK, str(primary.port))
        servers = [primary] + [
            stack.enter_context(single(engine, *at_once, *follow, password=password))
            for _ in range(replicas)
        ]
        for server in servers[1:]:  # a Sentinel that came first would ask again after ten seconds
            wait_for(partial(follows, server), f"{server.address} follows the primary")
        sentinels = [
            stack.enter_context(Sentinel(primary, down_after_ms, sentinel_password))
            for _ in range(_SENTINELS)
        ]
        watched = Watched(servers, sentinels)
        watched.settle()
        yield watched
