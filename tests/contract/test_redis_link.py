"""The link against real servers: what redis-py's clients were seen to do wrong, and must not be.

No retry of a command that was sent, no reply that reaches another command, no connection lost by a
caller that goes away, no error for a connection that was idle when the server closed it.
"""

import asyncio

from redis.exceptions import NoScriptError, ReadOnlyError, ResponseError

from ratelimitd.clock import steady_ns
from ratelimitd.errors import StoreNotAskedError, StoreTimeoutError, StoreUnavailableError
from ratelimitd.stores.redis import link as linking
from ratelimitd.stores.redis.connection import MOST_UNSENT
from ratelimitd.stores.redis.counters import RedisCounters
from ratelimitd.stores.redis.opening import servers_of
from tests.support.ops import MONTHLY, charge, fixed
from tests.support.redis.proxy import Proxy
from tests.support.redis.server import Server
from tests.support.replies import PATIENT, Replies, asked, command, linked, until

HASTY = 0.05


class TestReplies:
    async def test_many_on_their_way_come_in_order(self, any_server: Server) -> None:
        """A thousand commands at once, each with its own reply."""
        replies = Replies()
        async with linked(any_server.url) as link:
            for _ in range(1000):
                link.send(command("INCR", "k"), replies.take)
            assert await replies.reach(1000) == list(range(1, 1001))

    async def test_an_error_is_a_value(self, any_server: Server) -> None:
        """Of redis-py's kind where it has one, and the connection stays."""
        async with linked(any_server.url) as link:
            assert isinstance(await asked(link, "EVALSHA", "0" * 40, 0), NoScriptError)
            assert isinstance(await asked(link, "NONSENSE"), ResponseError)
            assert await asked(link, "GET", "absent") is None
            assert await asked(link, "SET", "k", "v") == b"OK"
            assert link.connects == 1

    async def test_a_large_one_is_read_whole(self, any_server: Server) -> None:
        """However many pieces it comes in."""
        any_server.client().set("k", b"x" * 3_000_000)
        async with linked(any_server.url) as link:
            assert await asked(link, "GET", "k") == b"x" * 3_000_000


class TestSilence:
    async def test_nothing_is_sent_twice_and_no_reply_goes_astray(self, own_server: Server) -> None:
        """Who waited too long is told so; the command runs once, and its reply is thrown away."""
        early = Replies()
        async with linked(own_server.url, HASTY) as link:
            with own_server.paused():
                for _ in range(50):
                    link.send(command("INCR", "k"), early.take)
                await early.reach(50)
            assert {type(each) for each in early} == {StoreTimeoutError}
            await until(lambda: link.late == 50, "the late replies have come")
            assert own_server.client().get("k") == b"50"
            assert await asked(link, "ECHO", "mine") == b"mine"
            assert link.connects == 1

    async def test_a_busy_loop_is_no_dead_server(self, any_server: Server) -> None:
        """What the kernel has received is read before anybody is told of silence."""
        replies = Replies()
        async with linked(any_server.url, HASTY) as link:
            for _ in range(5):
                link.send(command("INCR", "k"), replies.take)
                end = steady_ns() + 150_000_000
                while steady_ns() < end:
                    pass
                await replies.reach(len(replies) + 1)
            assert replies == [1, 2, 3, 4, 5]

    async def test_a_silent_connection_is_given_up(self, any_server: Server) -> None:
        """A network that swallows replies is left after a while; a new connection is fine."""
        async with Proxy(any_server) as proxy, linked(proxy.url, HASTY, give_up=0.3) as link:
            proxy.lose_replies = True
            assert isinstance(await asked(link, "INCR", "k"), StoreTimeoutError)
            proxy.lose_replies = False
            await until(lambda: link.connects == 2, "it has connected again")
            assert await asked(link, "GET", "k") == b"1"


class TestLoss:
    async def test_an_idle_connection_that_the_server_closes(self, any_server: Server) -> None:
        """The link notices at once and connects again; no caller sees an error."""
        async with linked(any_server.url) as link:
            for round_ in range(1, 4):
                any_server.client().client_kill_filter(_type="normal", skipme=True)
                await until(lambda count=round_: link.connects > count, "it is back")  # type: ignore[misc]
                assert await asked(link, "INCR", "k") == round_

    async def test_what_comes_while_it_connects_again_waits(self, any_server: Server) -> None:
        """Held, then sent once, in order."""
        replies = Replies()
        async with linked(any_server.url) as link:

            def send_at_once(_: object) -> None:
                for _ in range(3):
                    link.send(command("INCR", "k"), replies.take)

            link.on_down = send_at_once
            any_server.client().client_kill_filter(_type="normal", skipme=True)
            assert await replies.reach(3) == [1, 2, 3]

    async def test_a_server_that_dies_and_comes_back(self, own_server: Server) -> None:
        """What was sent may have run; what was not sent says so; afterwards all is well."""
        unsure = Replies()
        async with linked(own_server.url) as link:
            own_server.pause()
            link.send(command("INCR", "k"), unsure.take)
            own_server.kill()
            assert type((await unsure.reach(1))[0]) is StoreUnavailableError
            await until(lambda: link._write is None, "the first attempt has failed")
            refused = await asked(link, "INCR", "k")
            assert isinstance(refused, StoreNotAskedError)
            assert "refused" in str(refused)
            own_server.restart()
            await until(lambda: link.is_up, "it is back")
            assert await asked(link, "INCR", "k") == 1

    async def test_many_losses_cost_no_memory_of_tasks(self, any_server: Server) -> None:
        """One attempt at a time, however often the connection is cut."""
        async with Proxy(any_server) as proxy, linked(proxy.url) as link:
            tasks = len(asyncio.all_tasks())
            for count in range(2, 8):
                proxy.cut()
                await until(lambda count=count: link.connects >= count, "it is back")  # type: ignore[misc]
            assert await asked(link, "INCR", "k") == 1
            await until(lambda: len(asyncio.all_tasks()) <= tasks, "no task is left")

    async def test_a_primary_that_became_a_replica(self, own_server: Server) -> None:
        """The caller has the error; nobody counts on it until it is a primary again."""
        client = own_server.client()
        async with linked(own_server.url) as link:
            client.execute_command("REPLICAOF", "127.0.0.1", "1")
            assert isinstance(await asked(link, "SET", "k", "v"), ReadOnlyError)
            await until(lambda: link._write is None, "the first attempt has failed")
            assert "replica" in str(await asked(link, "SET", "k", "v"))
            client.execute_command("REPLICAOF", "NO", "ONE")
            await until(lambda: link.is_up, "it is back")
            assert await asked(link, "SET", "k", "v") == b"OK"

    async def test_a_script_that_met_a_replica(self, own_server: Server) -> None:
        """Also where the script catches the error and goes on."""
        body = (own_server.folder / "script.lua", "return {1, redis.pcal" + "l('INCR', 'k').err}")
        async with linked(own_server.url) as link:
            own_server.client().execute_command("REPLICAOF", "127.0.0.1", "1")
            reply = await asked(link, "EVAL", body[1], 0)
            assert isinstance(reply, list)
            await until(lambda: not link.is_up, "it has left")


class TestBounds:
    async def test_a_paused_server_fills_no_memory(self, own_server: Server) -> None:
        """Beyond what the kernel takes and a few MiB, commands are refused; then all goes on."""
        replies = Replies()
        large = command("SET", "k", "x" * 262_144)
        async with linked(own_server.url) as link:
            assert link._connection is not None
            assert link._connection._transport is not None
            with own_server.paused():
                for _ in range(200):
                    link.send(large, replies.take)
                await until(lambda: len(replies) > 100, "most were refused")
                assert {type(each) for each in replies} == {StoreNotAskedError}
                unsent = link._connection._transport.get_write_buffer_size()
                assert unsent <= MOST_UNSENT + len(large)
            await replies.reach(200)
            assert replies[-1] == b"OK"
            assert await asked(link, "GET", "absent") is None

    async def test_the_bound_on_commands_is_above_what_batches_need(self) -> None:
        """Two batches under way for each bucket of a cluster."""
        assert linking.MOST_UNANSWERED >= 2 * 1024


class TestCallers:
    async def test_who_goes_away_costs_nothing(self, any_server: Server) -> None:
        """Cancelled callers end no command and no connection, and take nobody's reply."""
        servers = servers_of(any_server.url, PATIENT)
        counters = RedisCounters(servers)
        await counters.start()
        ops = [[charge(fixed(1000, MONTHLY), who=str(number))] for number in range(20)]
        for _ in range(10):
            tasks = [asyncio.create_task(counters.take(each)) for each in ops]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED, timeout=0)
            for task in tasks[::2]:
                task.cancel()
            done = await asyncio.gather(*tasks[1::2])
            assert all(taken.passed for taken in done)
        used = [(await counters.take(each)).standings[0].before for each in ops]
        assert used[1::2] == [10] * 10
        assert [link.connects for link in servers.nodes] == [1]
        await counters.close()
