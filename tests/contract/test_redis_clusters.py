"""Clusters and Sentinels of the tests: slots really move, and a failover really is one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.sentinel import Sentinel as SentinelClient

from tests.support.redis.cluster import SLOTS, Cluster, cluster, keys_of_slot, slot_of
from tests.support.redis.daemon import LOOPBACK
from tests.support.redis.sentinel import Watched, sentinel
from tests.support.redis.server import Server


@pytest.fixture(scope="module")
def valkeys() -> Iterator[Cluster]:
    """A cluster of Valkey with a password."""
    with cluster("valkey", password="sesame") as nodes:
        yield nodes


class TestCluster:
    def test_every_slot_is_served(self, redis_cluster: Cluster) -> None:
        """All nodes tell the same of all slots, and each node has a third of them."""
        told = [node.owners() for node in redis_cluster.nodes]
        assert len(told[0]) == SLOTS
        assert told[1:] == told[:1] * 2
        for node in redis_cluster.nodes:
            assert abs(list(told[0].values()).count(node.port) - SLOTS // 3) <= 1

    def test_a_key_is_where_it_is_said_to_be(self, redis_cluster: Cluster) -> None:
        """Its node has it, and another sends whoever asks there."""
        redis_cluster.client().set("{acme}:1", "v")
        home = redis_cluster.node_of("{acme}:2")
        assert home.ask("GET", "{acme}:1") == b"v"
        other = next(node for node in redis_cluster.nodes if node is not home)
        with pytest.raises(redis.exceptions.MovedError):
            other.ask("GET", "{acme}:1")

    def test_in_the_middle_of_a_move_the_source_asks_on(self, own_cluster: Cluster) -> None:
        """Keys that went are found by ASK, keys that stayed are served, and then all have gone."""
        slot = slot_of("k")
        source = own_cluster.owner(slot)
        target = next(node for node in own_cluster.nodes if node is not source)
        keys = keys_of_slot(slot, 3)
        for key in keys:
            source.ask("SET", key, key, "EX", 1000)
        own_cluster.begin_move(slot, source, target)
        assert own_cluster.move_keys(slot, source, target, most=2) == 2
        answers = [asked(source, key) for key in keys]
        assert sorted(answers) == sorted(["ASK", "ASK", next(k for k in keys if k in answers)])
        assert own_cluster.move_keys(slot, source, target) == 1
        own_cluster.finish_move(slot, source, target)
        assert own_cluster.owner(slot) is target
        assert [asked(source, key) for key in keys] == ["MOVED"] * 3
        assert all(0 < target.ask("TTL", key) <= 1000 for key in keys)

    def test_slots_move_to_a_node_that_is_added(self, valkeys: Cluster) -> None:
        """Every node knows of it, and a client that follows the slots misses nothing."""
        client = valkeys.client()
        fourth = valkeys.add_node()
        source = valkeys.nodes[1]
        slots = [slot for slot, port in source.owners().items() if port == source.port][:20]
        keys = [keys_of_slot(slot, 1)[0] for slot in slots[:3]]
        for key in keys:
            client.set(key, "v")
        valkeys.reshard(slots, source, fourth)
        for node in valkeys.nodes:
            owners = node.owners()
            assert {owners[slot] for slot in slots} == {fourth.port}
        assert [client.get(key) for key in keys] == [b"v"] * 3
        assert fourth.ask("DBSIZE") == 3


def asked(node: Server, key: str) -> str:
    """Return the value that a node has, or the word by which it sends on whoever asks."""
    try:
        value: bytes = node.ask("GET", key)
    except redis.exceptions.MovedError:
        return "MOVED"
    except redis.exceptions.AskError:
        return "ASK"
    return value.decode()


class TestSentinel:
    def test_a_replica_is_promoted_on_request(self, own_sentinels: Watched) -> None:
        """A replica refuses writes until then; it has what was written before."""
        before = own_sentinels.primary
        (replica,) = own_sentinels.replicas
        with pytest.raises(redis.ReadOnlyError):
            replica.ask("SET", "k", "w")
        before.ask("SET", "k", "v")
        assert before.ask("WAIT", 1, 10_000) == 1
        after = own_sentinels.failover()
        assert after is replica
        assert after.ask("GET", "k") == b"v"
        assert after.ask("SET", "k", "w") == b"OK"

    def test_a_dead_primary_is_replaced(self) -> None:
        """Passwords of servers and of Sentinels are their own; a client finds the new primary."""
        with sentinel("valkey", password="one", sentinel_password="two") as watched:
            before = watched.primary
            pids = [one.pid for one in (*watched.servers, *watched.sentinels)]
            after = watched.kill_primary()
            assert not before.running
            assert after in watched.servers
            known = [(LOOPBACK, one.port) for one in watched.sentinels]
            asking = SentinelClient(known, sentinel_kwargs={"password": "two", "protocol": 2})
            found = asking.discover_master(watched.service)
            for client in asking.sentinels:
                client.close()
            assert found == (LOOPBACK, after.port)
            assert after.ask("SET", "k", "v") == b"OK"
            assert watched.url.endswith(f":{watched.sentinels[-1].port}/limits")
        assert len(pids) == 5
        assert not any(map(alive, pids))


def alive(pid: int) -> bool:
    """Tell whether a process of this number is one of the tests' servers, and not a later one."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return b"valkey-server" in command
