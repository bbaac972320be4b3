"""Redirections and maps, with links that a test plays the servers of."""

import pytest
from redis.exceptions import AskError, ClusterDownError, MovedError, TryAgainError

from ratelimitd.errors import StoreNotAskedError, StoreTimeoutError
from ratelimitd.stores.redis import cluster as module
from ratelimitd.stores.redis.cluster import HOPS, NOBODY, Cluster
from ratelimitd.stores.redis.connection import packed
from ratelimitd.stores.redis.link import OnReply
from ratelimitd.stores.redis.slots import read
from ratelimitd.stores.redis.urls import parse
from tests.support.replies import Replies, until

MAP = packed(("CLUSTER", "SLOTS"))


class FakeLink:
    """As much of a `Link` as a cluster uses; answers for the map by itself."""

    slots: list[object]
    """What CLUSTER SLOTS says, of all alike."""
    opened: dict[str, "FakeLink"]

    def __init__(self, connector: object, *, timeout: float) -> None:
        self.name: str = connector.name  # type: ignore[attr-defined]
        self.opened[self.name] = self
        self.sent: list[tuple[bytes, int, OnReply]] = []
        self.maps = 0
        self.is_up = False
        self.closed = False
        self.unanswered = 0
        self.on_down: OnReply

    async def start(self) -> None:
        self.is_up = True

    def open(self) -> None:
        self.is_up = True

    def send(self, command: bytes, on_reply: OnReply) -> None:
        if command == MAP:
            self.maps += 1
            on_reply(self.slots)
        else:
            self.send_many(command, 1, on_reply)

    def send_many(self, commands: bytes, count: int, on_reply: OnReply) -> None:
        self.sent.append((commands, count, on_reply))

    async def close(self) -> None:
        self.closed = True

    def reply(self, reply: object) -> None:
        """Answer the oldest command."""
        self.sent.pop(0)[2](reply)


def having(**nodes: tuple[int, int]) -> list[object]:
    """Return a map: port 1 of each host has these slots."""
    return [[first, last, [name.encode(), 1, b""]] for name, (first, last) in nodes.items()]


@pytest.fixture
async def servers(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A cluster of `a` and `b` with half the slots each."""

    async def seeds(_: object) -> object:
        return read(FakeLink.slots, "seed")

    monkeypatch.setattr(module, "Link", FakeLink)
    monkeypatch.setattr(module, "told_by_seeds", seeds)
    monkeypatch.setattr(module, "LEAST_PAUSE", 0.001)
    FakeLink.slots, FakeLink.opened = having(a=(0, 8191), b=(8192, 16_383)), {}
    made = Cluster(parse("redis+cluster://seed"), timeout=1)
    await made.start()
    return made


def link(name: str) -> FakeLink:
    """Return the link to port 1 of a host."""
    return FakeLink.opened[f"{name}:1"]


def maps() -> int:
    """Return how often the map was asked for."""
    return sum(each.maps for each in FakeLink.opened.values())


async def test_asking_and_the_command_are_one_write(servers: Cluster) -> None:
    """To a node that the map does not know, which is connected to for it."""
    replies = Replies()
    servers.send(5, b"GET", replies.take)
    link("a").reply(AskError("5 new:1"))
    ((commands, count, _),) = link("new").sent
    assert (commands, count) == (packed(("ASKING",)) + b"GET", 2)
    link("new").reply(7)
    assert replies == [7]
    assert servers.name_of(5) == "a:1"
    assert maps() == 0
    await servers.close()


async def test_many_that_moved_have_the_map_read_once(servers: Cluster) -> None:
    """And the slots that were told of are known at once."""
    replies = Replies()
    for slot in range(100):
        servers.send(slot, b"GET", replies.take)
    FakeLink.slots = having(b=(0, 16_383))
    for slot in range(100):
        link("a").reply(MovedError(f"{slot} b:1"))
    assert servers.name_of(99) == "b:1"
    for _ in range(100):
        link("b").reply(1)
    assert replies == [1] * 100
    await until(lambda: servers.name_of(8000) == "b:1", "the map is read")
    assert maps() == 1
    await until(lambda: link("a").closed, "who has left the map is closed")
    assert len(servers.nodes) == 1
    await servers.close()


async def test_a_redirection_to_nowhere_is_to_where_it_was_said(servers: Cluster) -> None:
    """A node that does not know its own host says an empty one."""
    servers.send(5, b"GET", Replies().take)
    link("a").reply(MovedError("5 :2"))
    assert FakeLink.opened["a:2"].sent
    await servers.close()


async def test_redirections_in_a_circle_end(servers: Cluster) -> None:
    """The last of them is the caller's."""
    replies = Replies()
    servers.send(5, b"GET", replies.take)
    for hop in range(HOPS + 1):
        here, there = ("a", "b") if hop % 2 == 0 else ("b", "a")
        link(here).reply(MovedError(f"5 {there}:1"))
    assert isinstance(replies[0], MovedError)
    assert not link("a").sent
    assert not link("b").sent
    await servers.close()


@pytest.mark.parametrize(
    ("trouble", "looks"),
    [
        (TryAgainError("Multiple keys"), False),
        (ClusterDownError("The cluster is down"), True),
        (StoreTimeoutError("silent"), True),
    ],
)
async def test_other_trouble_is_the_callers(
    servers: Cluster, trouble: Exception, looks: bool
) -> None:
    """Nothing is sent again; the map is looked at where it may be wrong."""
    replies = Replies()
    servers.send(5, b"GET", replies.take)
    link("a").reply(trouble)
    assert replies == [trouble]
    assert not link("a").sent
    if looks:
        await until(lambda: maps() == 1, "the map is read")
    else:
        assert not servers._outdated
    await servers.close()


async def test_a_slot_that_nobody_has(servers: Cluster) -> None:
    """It is refused unsent, and the map is looked at until somebody has it."""
    FakeLink.slots = having(b=(8192, 16_383))
    servers.send(5, b"GET", Replies().take)
    link("a").reply(ClusterDownError("Hash slot not served"))
    await until(lambda: servers.name_of(5) == NOBODY, "the map is read")
    replies = Replies()
    servers.send(5, b"GET", replies.take)
    assert isinstance((await replies.reach(1))[0], StoreNotAskedError)
    FakeLink.slots = having(a=(0, 8191), b=(8192, 16_383))
    servers.send(5, b"GET", replies.take)
    await until(lambda: servers.name_of(5) == "a:1", "the map is read")
    await servers.close()


async def test_a_node_that_is_about_to_get_slots_is_kept(servers: Cluster) -> None:
    """A map without it does not close the connection that ASK leads to."""
    servers.send(5, b"GET", Replies().take)
    link("a").reply(AskError("5 new:1"))
    link("b").on_down(StoreTimeoutError("lost"))
    await until(lambda: servers.refreshes == 2, "the map is read")
    assert not link("new").closed
    await servers.close()
    assert link("new").closed


async def test_a_map_that_does_not_change_is_read_less_and_less(
    servers: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However loudly a dead server is complained of."""
    monkeypatch.setattr(module, "LEAST_PAUSE", 0.02)
    pauses = []
    for count in range(2, 6):
        link("a").on_down(StoreTimeoutError("silent"))
        await until(lambda count=count: servers.refreshes == count, "the map is read")  # type: ignore[misc]
        await until(lambda: not servers._refreshing, "and done with")
        pauses.append(servers._pause)
    assert pauses == [0.02, 0.04, 0.08, 0.16]
    await servers.close()
