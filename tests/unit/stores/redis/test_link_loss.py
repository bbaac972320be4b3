"""What becomes of a link's commands when its connection is lost, and how it connects again."""

import asyncio
import logging

import pytest

from ratelimitd.errors import StoreNotAskedError, StoreUnavailableError
from ratelimitd.stores.redis.link import Link
from tests.support.replies import Replies, until
from tests.unit.stores.redis.fakes import HASTY, PATIENT, FakeServer, linked


def recorded_pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the pauses that are made from now on, which take one turn of the loop each."""
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        turn = asyncio.Event()
        asyncio.get_running_loop().call_soon(turn.set)
        await turn.wait()

    monkeypatch.setattr(asyncio, "sleep", pause)
    return pauses


class TestLoss:
    async def test_what_was_sent_fails_and_what_comes_is_held(self) -> None:
        """The one may have been done; the other is sent once, over the new connection."""
        server, sent, held = FakeServer(), Replies(), Replies()
        link = await linked(server)
        link.send(b"A", sent.take)
        server.last.lose("reset by peer")
        link.send(b"B", held.take)
        assert type(sent[0]) is StoreUnavailableError
        await until(lambda: link.is_up, "it is up")
        assert server.last.written == [b"B"]
        server.last.reply(2)
        assert held == [2]
        await link.close()

    async def test_the_order_is_kept_over_a_loss(self) -> None:
        """Who is told of the loss and sends again at once comes after those before."""
        server, replies = FakeServer(), Replies()
        link = await linked(server)
        link.send(b"A", lambda _: link.send(b"A again", replies.take))
        server.last.lose("reset by peer")
        link.send(b"B", replies.take)
        await until(lambda: link.is_up, "it is up")
        assert server.last.written == [b"A againB"]
        server.last.reply(1)
        server.last.reply(2)
        assert replies == [1, 2]
        await link.close()

    async def test_held_commands_wait_no_longer_than_others(self) -> None:
        """Then they and all that come are refused until there is a connection."""
        server, replies = FakeServer(), Replies()
        link = await linked(server, HASTY)
        server.gate = asyncio.Event()
        server.last.lose("reset by peer")
        link.send(b"A", replies.take)
        await replies.reach(1)
        link.send(b"B", replies.take)
        await replies.reach(2)
        assert [type(each) for each in replies] == [StoreNotAskedError] * 2
        server.gate.set()
        await until(lambda: link.is_up, "it is up")
        assert not server.last.written
        await link.close()

    async def test_it_tries_for_ever_one_at_a_time(self, caplog: pytest.LogCaptureFixture) -> None:
        """Why it cannot connect is said to callers each time, and to the log once."""
        caplog.set_level(logging.WARNING, "ratelimitd.store")
        server, replies = FakeServer(), Replies()
        link = await linked(server)
        server.refuses = True
        server.last.lose("reset by peer")
        await until(lambda: server.attempts >= 20, "it goes on")
        link.send(b"A", replies.take)
        assert "nobody listens" in str((await replies.reach(1))[0])
        server.refuses = False
        await until(lambda: link.is_up, "it is up")
        assert server.most_at_once == 1
        assert len(caplog.records) == 1
        await link.close()

    async def test_attempts_pause_longer_and_longer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The first is at once; then chance takes a part of 50 ms, doubled up to 0.5 s."""
        pauses = recorded_pauses(monkeypatch)
        server = FakeServer()
        link = Link(server.connect, timeout=PATIENT, jitter=lambda: 0.5)
        await link.start()
        server.refuses = True
        server.last.lose("reset by peer")
        await until(lambda: len(pauses) >= 7, "seven pauses")
        await link.close()
        assert pauses[:7] == [0.025, 0.05, 0.1, 0.2, 0.25, 0.25, 0.25]

    async def test_a_server_that_ends_each_connection_is_not_hammered(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Connections that live for a moment only count as failed attempts."""
        pauses = recorded_pauses(monkeypatch)
        server = FakeServer()
        link = Link(server.connect, timeout=PATIENT, jitter=lambda: 1.0)
        await link.start()
        for count in range(1, 6):
            server.last.lose("reset by peer")
            await until(lambda count=count: link.connects == count + 1, "again")  # type: ignore[misc]
        assert pauses == [0.05, 0.1, 0.2, 0.4]
        await link.close()

    async def test_its_owner_is_told(self) -> None:
        """Of the loss, and of each attempt that failed."""
        server, told = FakeServer(), Replies()
        link = await linked(server)
        link.on_down = told.take
        server.refuses = True
        server.last.lose("reset by peer")
        reasons = [str(each) for each in await told.reach(3)]
        assert "reset by peer" in reasons[0]
        assert reasons[1] == reasons[2] == "nobody listens"
        await link.close()


class TestClosing:
    async def test_what_waits_fails_and_nothing_is_left(self) -> None:
        """No task, no timer; closing again does nothing, and sending is refused."""
        server, replies, before = FakeServer(), Replies(), asyncio.all_tasks()
        link = await linked(server)
        link.send(b"A", replies.take)
        await link.close()
        await link.close()
        link.send(b"B", replies.take)
        assert "closed" in str((await replies.reach(2))[0])
        assert isinstance(replies[1], StoreNotAskedError)
        assert asyncio.all_tasks() == before

    async def test_an_attempt_under_way_is_ended(self) -> None:
        """Nobody connects after the end."""
        server, before = FakeServer(), asyncio.all_tasks()
        server.gate = asyncio.Event()
        link = Link(server.connect, timeout=PATIENT)
        link.open()
        await until(lambda: server.attempts, "it tries")
        await link.close()
        assert asyncio.all_tasks() == before
        assert not server.connections

    async def test_a_link_that_was_never_started_refuses(self) -> None:
        """Its sentence says why."""
        replies = Replies()
        link = Link(FakeServer().connect, timeout=PATIENT)
        link.send(b"A", replies.take)
        assert "not connected yet" in str((await replies.reach(1))[0])
        await link.close()
