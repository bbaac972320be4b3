"""Clusters as the store sees them: slots move while somebody counts, nodes come and go."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from redis.exceptions import TryAgainError

from ratelimitd.errors import StoreError, StoreUnavailableError
from ratelimitd.stores.redis.cluster import Cluster
from ratelimitd.stores.redis.urls import parse
from tests.support.redis.cluster import Cluster as RealCluster
from tests.support.redis.cluster import cluster, keys_of_slot, slot_of
from tests.support.redis.server import Server
from tests.support.replies import PATIENT, Replies, command, until


@pytest.fixture(scope="module", params=["redis", "valkey"])
def shared(request: pytest.FixtureRequest) -> Iterator[RealCluster]:
    """Three primaries for this file; a test that adds a node or ends one has its own."""
    with cluster(request.param) as made:
        yield made


@pytest.fixture
def own() -> Iterator[RealCluster]:
    """Two primaries for one test."""
    with cluster(primaries=2) as made:
        yield made


@asynccontextmanager
async def opened(url: str, silence: float = PATIENT) -> AsyncIterator[Cluster]:
    """Open a cluster for one test; nothing of it is left afterwards."""
    before = asyncio.all_tasks()
    servers = Cluster(parse(url), timeout=silence)
    await servers.start()
    try:
        yield servers
    finally:
        await servers.close()
        assert asyncio.all_tasks() <= before


async def asked(servers: Cluster, key: str, *words: object) -> object:
    """Return the reply to a command about a key."""
    replies = Replies()
    servers.send(slot_of(key), command(*words), replies.take)
    return (await replies.reach(1))[0]


class TestSlots:
    async def test_each_server_has_one_connection(self, shared: RealCluster) -> None:
        """Keys of all slots are counted where they are."""
        shared.flush()
        replies = Replies()
        async with opened(shared.url) as servers:
            for number in range(600):
                key = f"k{number % 300}"
                servers.send(slot_of(key), command("INCR", key), replies.take)
            assert sorted(map(str, await replies.reach(600))) == ["1"] * 300 + ["2"] * 300
            assert [link.connects for link in servers.nodes] == [1, 1, 1]
            assert {servers.name_of(slot) for slot in range(16_384)} == {
                node.address for node in shared.nodes
            }
            assert servers.moved == servers.asked == 0

    async def test_any_node_tells_the_map(self, shared: RealCluster) -> None:
        """The first that answers; those that do not are passed over."""
        url = f"redis+cluster://127.0.0.1:1,{shared.nodes[2].address}"
        async with opened(url) as servers:
            assert await asked(servers, "k", "GET", "absent{k}") is None

    async def test_nobody_tells_the_map(self, any_server: Server) -> None:
        """Why not is said of each."""
        with pytest.raises(StoreUnavailableError, match=r"127\.0\.0\.1:1\) .*no part of a cluster"):
            await Cluster(
                parse(f"redis+cluster://127.0.0.1:1,{any_server.address}"), timeout=PATIENT
            ).start()


class TestMoves:
    async def test_moved_slots_are_followed(self, shared: RealCluster) -> None:
        """Commands that meet the old owner are sent again; the map is read once for all of them."""
        shared.flush()
        source, target = shared.nodes[0], shared.nodes[1]
        slots = range(20)
        keys = [key for slot in slots for key in keys_of_slot(slot, 5)]
        async with opened(shared.url) as servers:
            for key in keys:
                assert await asked(servers, key, "INCR", key) == 1
            shared.reshard(slots, source, target)
            replies = Replies()
            for key in keys:
                servers.send(slot_of(key), command("INCR", key), replies.take)
            assert await replies.reach(len(keys)) == [2] * len(keys)
            assert servers.moved == len(keys)
            await until(lambda: servers.refreshes > 1, "the map is read again")
            moved = servers.moved
            for key in keys:
                assert await asked(servers, key, "INCR", key) == 3
            assert servers.moved == moved
            assert servers.refreshes <= 4
            shared.reshard(slots, target, source)

    async def test_counts_stay_exact_while_slots_move(self, shared: RealCluster) -> None:
        """No error, none lost, none twice, under load all the while."""
        shared.flush()
        slots = range(12)
        keys = [keys_of_slot(slot, 1)[0] for slot in slots] * 3
        done, sent = Replies(), 0
        async with opened(shared.url) as servers:
            moving = asyncio.get_running_loop().run_in_executor(
                None, shared.reshard, slots, shared.nodes[0], shared.nodes[2]
            )
            while not moving.done():
                for key in keys:
                    servers.send(slot_of(key), command("INCR", key), done.take)
                sent += len(keys)
                await done.reach(sent)
            await moving
            assert not [each for each in done if not isinstance(each, int)]
            counts = [int(str(await asked(servers, key, "INCRBY", key, 0))) for key in keys[:12]]
            assert sum(counts) == sent
            assert servers.moved + servers.asked
        shared.reshard(slots, shared.nodes[2], shared.nodes[0])

    async def test_a_node_without_slots_is_asked(self, own: RealCluster) -> None:
        """It is connected to on demand; ASKING and the command arrive with nothing between."""
        slot, source = 7, own.nodes[0]
        keys = keys_of_slot(slot, 40)
        replies = Replies()
        async with opened(own.url) as servers:
            for key in keys[:20]:
                await asked(servers, key, "INCR", key)
            target = own.add_node()
            own.begin_move(slot, source, target)
            own.move_keys(slot, source, target, most=10)
            for key in keys:
                servers.send(slot, command("INCR", key), replies.take)
            # Redirected ones are overtaken by others, so their order is not that of the commands.
            assert sorted(map(str, await replies.reach(40))) == ["1"] * 20 + ["2"] * 20
            assert servers.asked >= 30
            assert servers.moved == 0
            own.move_keys(slot, source, target)
            own.finish_move(slot, source, target)
            for key in keys:
                assert isinstance(await asked(servers, key, "INCR", key), int)
            await until(lambda: servers.name_of(slot) == target.address, "the map has it")

    async def test_try_again_is_the_callers(self, own: RealCluster) -> None:
        """A command about keys on both sides of a move cannot be helped by sending it again."""
        slot, (source, target) = 7, own.nodes
        first, second = keys_of_slot(slot, 2)
        async with opened(own.url) as servers:
            await asked(servers, first, "MSET", first, 1, second, 1)
            own.begin_move(slot, source, target)
            own.move_keys(slot, source, target, most=1)
            assert isinstance(await asked(servers, first, "MGET", first, second), TryAgainError)


class TestNodes:
    async def test_one_that_leaves_the_map_is_closed(self, own: RealCluster) -> None:
        """What it was asked before is still answered."""
        source, target = own.nodes
        first = 0
        async with opened(own.url) as servers:
            slots = [slot for slot, port in source.owners().items() if port == source.port]
            for node in (target, source):
                node.ask("CLUSTER", "SETSLOT", first, "NODE", target.id)
            for slot in slots[1:]:
                for node in (target, source):
                    node.ask("CLUSTER", "SETSLOT", slot, "NODE", target.id)
            key = keys_of_slot(first, 1)[0]
            assert await asked(servers, key, "INCR", key) == 1
            await until(lambda: len(servers.nodes) == 1, "the old one is closed")
            assert servers.name_of(first) == target.address
            assert servers.nodes[0].connects == 1

    async def test_one_that_dies_hinders_no_other(self, own: RealCluster) -> None:
        """Its slots fail at once, and are served again once it is back."""
        dead, alive = own.nodes
        gone, there = keys_of_slot(0, 1)[0], keys_of_slot(16_383, 1)[0]
        async with opened(own.url) as servers:
            dead.kill()
            assert isinstance(await asked(servers, gone, "INCR", gone), StoreError)
            assert await asked(servers, there, "INCR", there) == 1
            assert servers.name_of(16_383) == alive.address
            dead.restart()
            own.settle()
            await until(lambda: all(link.is_up for link in servers.nodes), "it is back")
            assert await asked(servers, gone, "INCR", gone) == 1

    async def test_one_that_is_dead_from_the_beginning(self, own: RealCluster) -> None:
        """The others serve; it is tried until it is there."""
        dead, _ = own.nodes
        dead.kill()
        key = keys_of_slot(0, 1)[0]
        async with opened(own.url) as servers:
            assert isinstance(await asked(servers, key, "INCR", key), StoreError)
            dead.restart()
            own.settle()
            await until(lambda: all(link.is_up for link in servers.nodes), "it is there")
            assert await asked(servers, key, "INCR", key) == 1

    async def test_all_want_the_password(self) -> None:
        """Credentials of the URL are for every node."""
        with cluster(primaries=2, password="sesame") as made:
            async with opened(made.url) as servers:
                for slot in (0, 16_383):
                    key = keys_of_slot(slot, 1)[0]
                    assert await asked(servers, key, "INCR", key) == 1
