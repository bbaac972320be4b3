"""A cluster: hash slots on several primaries, and how they move while somebody counts: `cluster()`.

A slot moves as redis-cli moves it: IMPORTING and MIGRATING, the keys one batch after another, and
then everybody is told of the new owner. A test may stop at any of these steps.
"""

from __future__ import annotations

import contextlib
import itertools
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Final

import redis
from redis.crc import key_slot

from tests.support.redis.daemon import LOOPBACK, wait_for
from tests.support.redis.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.support.redis.binaries import Engine

SLOTS: Final = 16_384
_BATCH: Final = 100


class Node(Server):
    """One server of a cluster."""

    def __init__(self, engine: Engine, timeout_ms: int, password: str | None) -> None:
        usual = ("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf")
        patience = ("--cluster-node-timeout", str(timeout_ms))
        super().__init__(engine, *usual, *patience, password=password)

    @cached_property
    def id(self) -> str:
        """Its name in the cluster; a restart keeps it."""
        name: bytes = self.ask("CLUSTER", "MYID")
        return name.decode()

    def facts(self) -> dict[str, str]:
        """Return what it knows of the cluster's state."""
        lines: bytes = self.ask("CLUSTER", "INFO")
        return dict(line.split(":", 1) for line in lines.decode().split())

    def owners(self) -> dict[int, int]:
        """Return port by slot, as this node tells its clients."""
        return {
            slot: int(primary[1])
            for first, last, primary, *_ in self.ask("CLUSTER", "SLOTS")
            for slot in range(first, last + 1)
        }


class Cluster:
    """Nodes that have met. `nodes[0]` begins with the lowest slots; a node added has none."""

    def __init__(self, engine: Engine, timeout_ms: int, password: str | None) -> None:
        self._made = (engine, timeout_ms, password)
        self._stack = contextlib.ExitStack()
        self._clients: list[redis.RedisCluster] = []
        self._password = password
        self.nodes: list[Node] = []

    @property
    def url(self) -> str:
        """`redis+cluster://HOST:PORT,…`, with the password if the nodes have one."""
        secret = f":{self._password}@" if self._password else ""
        return f"redis+cluster://{secret}{','.join(node.address for node in self.nodes)}"

    def client(self, **options: Any) -> redis.RedisCluster:  # noqa: ANN401 - redis-py's
        """Return a client that follows the slots, protocol 2, closed with the cluster."""
        usual = {"host": LOOPBACK, "port": self.nodes[0].port, "password": self._password}
        client = redis.RedisCluster(**{**usual, "protocol": 2, "socket_timeout": 5, **options})
        self._clients.append(client)
        return client

    def owner(self, slot: int) -> Node:
        """Return the node whose slot it is, as the first node that runs tells."""
        port = next(node for node in self.nodes if node.running).owners()[slot]
        return next(node for node in self.nodes if node.port == port)

    def node_of(self, key: str | bytes) -> Node:
        """Return the node on which a key is."""
        return self.owner(slot_of(key))

    def flush(self) -> None:
        """Forget all keys and scripts on every node."""
        for node in self.nodes:
            node.flush()

    def start(self, primaries: int) -> None:
        """Start nodes, deal the slots among them, introduce them, and wait until all is served."""
        for epoch in range(1, primaries + 1):
            node = self._started()
            first, last = SLOTS * (epoch - 1) // primaries, SLOTS * epoch // primaries
            node.ask("CLUSTER", "ADDSLOTS", *range(first, last))
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", epoch)
        for node in self.nodes[1:]:
            self._introduce(node)
        self.settle()

    def add_node(self) -> Node:
        """Start one more node, without slots, and return it once everybody knows it."""
        node = self._started()
        self._introduce(node)
        self.settle()
        return node

    def settle(self) -> None:
        """Wait until every node knows every other one and takes all slots to be served."""
        for node in self.nodes:
            wait_for(partial(self._is_whole, node), f"{node.address} sees a whole cluster")

    def close(self) -> None:
        """End clients and nodes."""
        for client in self._clients:
            client.close()
        self._stack.close()

    def reshard(self, slots: Iterable[int], source: Node, target: Node) -> None:
        """Move slots with their keys, one after another; return once every node says so."""
        moved = list(slots)
        for slot in moved:
            self.begin_move(slot, source, target)
            self.move_keys(slot, source, target)
            self.finish_move(slot, source, target)
        for node in self.nodes:
            wait_for(
                partial(self._says, node, moved, target),
                f"{node.address} knows the slots' new owner",
            )

    def begin_move(self, slot: int, source: Node, target: Node) -> None:
        """From now on the source answers ASK for keys of the slot that it has not, or no more."""
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)

    def move_keys(self, slot: int, source: Node, target: Node, most: int | None = None) -> int:
        """Move the slot's keys, or so many; return how many. Each keeps its time to live."""
        moved = 0
        secret = ("AUTH", self._password) if self._password else ()
        while most is None or moved < most:
            batch = _BATCH if most is None else min(_BATCH, most - moved)
            keys = source.ask("CLUSTER", "GETKEYSINSLOT", slot, batch)
            if not keys:
                break
            where = (LOOPBACK, target.port, "", 0, 5000)
            source.ask("MIGRATE", *where, *secret, "KEYS", *keys)
            moved += len(keys)
        return moved

    def finish_move(self, slot: int, source: Node, target: Node) -> None:
        """Tell everybody of the slot's new owner: the target first, or nobody would have it."""
        others = [node for node in self.nodes if node not in (source, target) and node.running]
        for node in (target, source, *others):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", target.id)

    def _started(self) -> Node:
        node = self._stack.enter_context(Node(*self._made))
        self.nodes.append(node)
        return node

    def _introduce(self, node: Node) -> None:
        self.nodes[0].ask("CLUSTER", "MEET", LOOPBACK, node.port)

    def _says(self, node: Node, slots: Iterable[int], owner: Node) -> bool:
        owners = node.owners()
        return all(owners.get(slot) == owner.port for slot in slots)

    def _is_whole(self, node: Node) -> bool:
        facts = node.facts()
        listed: bytes = node.ask("CLUSTER", "NODES")
        known = [line.split() for line in listed.decode().splitlines()]
        return (
            facts["cluster_state"] == "ok"
            and len(known) == len(self.nodes)
            and all(
                "handshake" not in flags and "fail" not in flags and link == "connected"
                for _, _, flags, _, _, _, _, link, *_ in known
            )
        )


def slot_of(key: str | bytes) -> int:
    """Return the hash slot of a key; only what stands in its first braces counts."""
    return key_slot(key.encode() if isinstance(key, str) else key)


def keys_of_slot(slot: int, count: int, prefix: str = "k") -> list[str]:
    """Return keys of one slot, without braces."""
    numbered = (f"{prefix}{number}" for number in itertools.count())
    return list(itertools.islice((key for key in numbered if slot_of(key) == slot), count))


@contextlib.contextmanager
def cluster(
    engine: Engine = "redis",
    *,
    primaries: int = 3,
    node_timeout_ms: int = 5000,
    password: str | None = None,
) -> Iterator[Cluster]:
    """Run a cluster of primaries; about 2.5 s, as a node serves nothing in its first two."""
    made = Cluster(engine, node_timeout_ms, password)
    try:
        made.start(primaries)
        yield made
    finally:
        made.close()
