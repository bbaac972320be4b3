"""The link's queue of replies, its patience and its bounds."""

import asyncio

import pytest
from redis.exceptions import ReadOnlyError

from ratelimitd.clock import steady_ns
from ratelimitd.errors import StoreNotAskedError, StoreTimeoutError
from ratelimitd.stores.redis import link as module
from ratelimitd.stores.redis.link import Link
from tests.support.replies import Replies, until
from tests.unit.stores.redis.fakes import HASTY, PATIENT, FakeServer, linked


class TestReplies:
    async def test_each_comes_to_its_own_command(self) -> None:
        """In the order of the commands."""
        server, first, second = FakeServer(), Replies(), Replies()
        link = await linked(server)
        link.send(b"A", first.take)
        link.send(b"B", second.take)
        assert server.last.written == [b"A", b"B"]
        server.last.reply(1)
        server.last.reply(None)
        assert (first, second) == ([1], [None])
        await link.close()

    async def test_commands_that_belong_together_are_one_write(self) -> None:
        """Only the last one's reply is told; nothing can come between."""
        server, replies = FakeServer(), Replies()
        link = await linked(server)
        link.send_many(b"ASKING GET", 2, replies.take)
        link.send(b"B", replies.take)
        for reply in (b"OK", 7, 8):
            server.last.reply(reply)
        assert server.last.written == [b"ASKING GET", b"B"]
        assert replies == [7, 8]
        await link.close()

    async def test_one_that_is_taken_badly_is_nobody_elses_trouble(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The next reply goes where it belongs, and the log says what happened."""
        server, replies = FakeServer(), Replies()
        link = await linked(server)
        link.send(b"A", lambda _: 1 // 0)  # type: ignore[arg-type]
        link.send(b"B", replies.take)
        server.last.reply(1)
        server.last.reply(2)
        assert replies == [2]
        assert "ZeroDivisionError" in caplog.text
        await link.close()

    async def test_one_that_nobody_asked_for_ends_the_connection(self) -> None:
        """Who is out of step by one reply would give each to the wrong command."""
        server = FakeServer()
        link = await linked(server)
        server.last.reply(1)
        await until(lambda: link.connects == 2, "it has connected again")
        assert "nobody asked for" in server.connections[0].dropped[0]
        await link.close()

    @pytest.mark.parametrize(
        "reply",
        [ReadOnlyError("You can't write"), [17, 4, b"READONLY You can't write against a replica"]],
        ids=["of a command", "of a script that went on"],
    )
    async def test_a_replica_is_left(self, reply: object) -> None:
        """The caller has the error; the link connects again, by Sentinels to the new primary."""
        server, replies = FakeServer(), Replies()
        link = await linked(server)
        link.send(b"A", replies.take)
        server.last.reply(reply)  # type: ignore[arg-type]
        assert replies == [reply]
        await until(lambda: link.connects == 2, "it has connected again")
        await link.close()

    @pytest.mark.parametrize("reply", [[b"1", b"2"], [0, 1], [], 3, b"READONLY x", None])
    async def test_other_replies_end_nothing(self, reply: object) -> None:
        """Only an error that a write met says that this is a replica."""
        server, replies = FakeServer(), Replies()
        link = await linked(server)
        link.send(b"A", replies.take)
        server.last.reply(reply)  # type: ignore[arg-type]
        assert link.is_up
        assert not server.last.dropped
        await link.close()


class TestSilence:
    async def test_late_replies_are_thrown_away(self) -> None:
        """Those who waited are told once; who comes next gets what belongs to it."""
        server, early, late = FakeServer(), Replies(), Replies()
        link = await linked(server, HASTY)
        link.send(b"A", early.take)
        link.send(b"B", early.take)
        assert [type(each) for each in await early.reach(2)] == [StoreTimeoutError] * 2
        link.send(b"C", late.take)
        for reply in (1, 2, 3):
            server.last.reply(reply)
        assert late == [3]
        assert len(early) == link.late == 2
        assert link.connects == 1
        await link.close()

    async def test_it_is_counted_from_the_last_reply(self) -> None:
        """A server that works through a queue is not silent, however long the last one waits."""
        server, replies = FakeServer(), Replies()
        link = await linked(server, 0.1)
        begun = steady_ns()
        for _ in range(10):
            link.send(b"A", replies.take)
        for _ in range(9):
            resumed = steady_ns()
            await until(lambda since=resumed: steady_ns() - since > 30_000_000, "30 ms")  # type: ignore[misc]
            server.last.reply(1)
        server.last.reply(1)
        assert steady_ns() - begun > 250_000_000
        assert replies == [1] * 10
        await link.close()

    async def test_a_busy_loop_is_no_silence(self) -> None:
        """What came while the loop was busy is read before anybody is told of silence."""
        server, replies = FakeServer(), Replies()
        link = await linked(server, HASTY)
        link.send(b"A", replies.take)
        await until(lambda: link._timer is not None, "silence is watched")
        end = steady_ns() + 100_000_000
        while steady_ns() < end:
            pass
        asyncio.get_running_loop().call_soon(server.last.reply, 5)
        assert await replies.reach(1) == [5]
        await link.close()

    async def test_the_connection_is_given_up_in_the_end(self) -> None:
        """A silent one is borne with; after `give_up` seconds there is another."""
        server, replies = FakeServer(), Replies()
        link = await linked(server, HASTY, give_up=0.1)
        link.send(b"A", replies.take)
        await replies.reach(1)
        assert link.connects == 1
        await until(lambda: link.connects == 2, "it has connected again")
        assert "silent for" in server.connections[0].dropped[0]
        link.send(b"B", replies.take)
        server.last.reply(2)
        assert replies[1] == 2
        await link.close()

    async def test_probes_do_not_prolong_it(self) -> None:
        """Commands sent meanwhile are no sign of life."""
        server, replies = FakeServer(), Replies()
        link = await linked(server, HASTY, give_up=0.2)
        while link.connects == 1:
            link.send(b"A", replies.take)
            await replies.reach(len(replies) + 1)
        assert len(replies) < 100
        await link.close()


class TestBounds:
    async def test_unanswered_commands(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """One too many is refused, later than the call and without being sent."""
        monkeypatch.setattr(module, "MOST_UNANSWERED", 3)
        server, replies = FakeServer(), Replies()
        link = await linked(server)
        for _ in range(4):
            link.send(b"A", replies.take)
        assert not replies
        (refused,) = await replies.reach(1)
        assert isinstance(refused, StoreNotAskedError)
        assert len(server.last.written) == link.unanswered == 3
        await link.close()

    async def test_a_silent_server_that_many_wait_for_is_left(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its connection will not come into step any more."""
        monkeypatch.setattr(module, "MOST_UNANSWERED", 3)
        server, replies = FakeServer(), Replies()
        link = await linked(server, HASTY)
        for _ in range(3):
            link.send(b"A", replies.take)
        await replies.reach(3)
        link.send(b"A", replies.take)
        await until(lambda: link.connects == 2, "it has connected again")
        assert link.unanswered == 0
        await link.close()

    async def test_unsent_bytes(self) -> None:
        """While the kernel takes no more, nothing is added."""
        server, replies = FakeServer(), Replies()
        link = await linked(server)
        server.last.fill(True)
        link.send(b"A", replies.take)
        assert isinstance((await replies.reach(1))[0], StoreNotAskedError)
        server.last.fill(False)
        link.send(b"B", replies.take)
        assert server.last.written == [b"B"]
        await link.close()

    async def test_held_bytes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is held while connecting is bounded by the same."""
        monkeypatch.setattr(module, "MOST_UNSENT", 10)
        server, replies = FakeServer(), Replies()
        server.gate = asyncio.Event()
        link = Link(server.connect, timeout=PATIENT)
        link.open()
        for _ in range(4):
            link.send(b"12345", replies.take)
        assert isinstance((await replies.reach(1))[0], StoreNotAskedError)
        server.gate.set()
        await until(lambda: link.is_up, "it is up")
        assert server.last.written == [b"12345" * 3]
        await link.close()
