"""How a link is let in by real servers: credentials, databases, roles, TLS.

Every refusal is one sentence with the server's name and without a secret.
"""

import asyncio
import socket

import pytest

from ratelimitd.errors import StoreNotAskedError, StoreUnavailableError
from ratelimitd.stores.redis import connect as connecting
from tests.support.redis.acl import acl_user
from tests.support.redis.proxy import Proxy
from tests.support.redis.server import Server, single
from tests.support.redis.tls import tls_front
from tests.support.replies import asked, linked, until


async def refusal(url: str) -> str:
    """Return why nobody is let in."""
    with pytest.raises(StoreUnavailableError) as refused:
        async with linked(url):
            pass
    return str(refused.value)


class TestLettingIn:
    async def test_a_wrong_password_is_told_and_not_shown(self) -> None:
        """One sentence with the server's name."""
        with single(password="sesame") as server:
            url = server.url.replace("sesame", "open-sesame")
            told = await refusal(url)
            assert server.address in told
            assert "refuses the user or password" in told
            assert "sesame" not in told
            assert "wants a password" in await refusal(f"redis://{server.address}")

    async def test_a_password_changed_while_it_runs(self) -> None:
        """Open connections stay; the next one is refused until the password is right again."""
        with single(password="sesame") as server:
            async with linked(server.url) as link:
                admin = server.client()
                admin.config_set("requirepass", "other")
                assert await asked(link, "PING") == b"PONG"
                admin.client_kill_filter(_type="normal", skipme=True)
                await until(lambda: link._write is None, "it is refused")
                refused = await asked(link, "PING")
                assert isinstance(refused, StoreNotAskedError)
                assert "refuses the user or password" in str(refused)
                assert "sesame" not in str(refused)
                admin.config_set("requirepass", "sesame")
                await until(lambda: link.is_up, "it is back")
                assert await asked(link, "PING") == b"PONG"

    async def test_a_database_that_is_not_there(self, any_server: Server) -> None:
        """The sentence has its number."""
        assert "has no database 99" in await refusal(any_server.url + "/99")

    async def test_a_database_is_chosen(self, any_server: Server) -> None:
        """And so on every connection."""
        async with linked(any_server.url + "/3") as link:
            assert await asked(link, "SET", "k", "v") == b"OK"
        assert any_server.client(db=3).get("k") == b"v"

    async def test_a_user_who_may_do_little(self, any_server: Server) -> None:
        """What the handshake would like to know, and may not, is done without."""
        user = acl_user(any_server, commands=["get", "set"])
        async with linked(user.url) as link:
            assert await asked(link, "SET", "k", "v") == b"OK"

    async def test_a_replica_is_refused(self, own_server: Server) -> None:
        """Counts need the primary."""
        own_server.client().execute_command("REPLICAOF", "127.0.0.1", "1")
        assert "is a replica" in await refusal(own_server.url)

    async def test_a_node_of_a_cluster_is_no_single_server(self) -> None:
        """Most keys would be refused; the sentence says what to write."""
        with single("redis", "--cluster-enabled", "yes") as server:
            assert "write redis+cluster://" in await refusal(server.url)

    async def test_nobody_there(self, own_server: Server) -> None:
        """A port that nobody listens on, a socket that is not there, a name that nobody has."""
        own_server.kill()
        assert "refused" in await refusal(own_server.url)
        assert "cannot be reached" in await refusal("unix:///nowhere/socket")
        assert "cannot be reached" in await refusal("redis://nowhere.invalid")

    async def test_somebody_else_is_there(self) -> None:
        """A server of another protocol is told from a silent one."""

        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await writer.drain()
            writer.close()

        other = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = other.sockets[0].getsockname()[1]
        assert "does not speak Redis's protocol" in await refusal(f"redis://127.0.0.1:{port}")
        other.close()

    async def test_a_silent_one(self, any_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        """Who takes the connection and says nothing is given a bounded time."""
        monkeypatch.setattr(connecting, "WITHIN", 0.2)
        async with Proxy(any_server) as proxy:
            proxy.black_hole = True
            assert "does not answer within 0.2 s" in await refusal(proxy.url)
            await until(lambda: not proxy.open, "the connection is closed")

    async def test_too_many_clients(self, own_server: Server) -> None:
        """Who is turned away at the door is told so, if the reason arrives before the end does."""
        own_server.client().config_set("maxclients", 1)
        assert "does not let us in" in await refusal(own_server.url)

    async def test_a_socket(self, any_server: Server) -> None:
        """`unix://` leads to the same server."""
        async with linked(any_server.unix_url + "?db=2") as link:
            assert await asked(link, "SET", "k", "v") == b"OK"
        assert any_server.client(db=2).get("k") == b"v"

    async def test_a_name_with_several_addresses(self, any_server: Server) -> None:
        """The first that takes the connection is taken, in whatever family."""
        address = ("localhost", any_server.port)
        connection = await connecting._first(["::1", "127.0.0.2", "127.0.0.1"], address, None)
        assert await connection.ask(("PING",)) == [b"PONG"]
        connection.drop()

    async def test_the_socket_is_watched_and_prompt(self, any_server: Server) -> None:
        """Keepalive finds a peer that vanished; small writes leave at once."""
        async with linked(any_server.url) as link:
            assert link._connection is not None
            assert link._connection._transport is not None
            sock = link._connection._transport.get_extra_info("socket")
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 15
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    async def test_it_has_a_name(self, any_server: Server) -> None:
        """CLIENT LIST tells operators who is there."""
        async with linked(any_server.url):
            names = [each["name"] for each in any_server.client().client_list()]
            assert "ratelimitd" in names


class TestTls:
    async def test_it_is_spoken(self, any_server: Server) -> None:
        """With the authority given."""
        async with (
            tls_front(any_server) as front,
            linked(f"{front.url}?ssl_ca_certs={front.ca_file}") as link,
        ):
            assert await asked(link, "INCR", "k") == 1
            front.proxy.cut()
            await until(lambda: link.connects == 2, "it is back")
            assert await asked(link, "INCR", "k") == 2

    async def test_nobody_is_trusted_by_default(self, any_server: Server) -> None:
        """A certificate of an unknown authority is told as that."""
        async with tls_front(any_server) as front:
            assert "certificate" in await refusal(front.url)

    async def test_who_asks_for_it_may_do_without_proof(self, any_server: Server) -> None:
        """`ssl_cert_reqs=none`."""
        async with (
            tls_front(any_server) as front,
            linked(f"{front.url}?ssl_cert_reqs=none") as link,
        ):
            assert await asked(link, "PING") == b"PONG"

    async def test_a_client_that_must_show_a_certificate(self, any_server: Server) -> None:
        """It is shown; without it the sentence is about TLS."""
        async with tls_front(any_server, mutual=True) as front:
            url = f"{front.url}?ssl_ca_certs={front.ca_file}"
            shown = f"{url}&ssl_certfile={front.client_cert}&ssl_keyfile={front.client_key}"
            async with linked(shown) as link:
                assert await asked(link, "PING") == b"PONG"
            assert "Redis" in await refusal(url)

    async def test_a_server_without_it(
        self, any_server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """`rediss://` to a plain port says so, and a file that is not there is named."""
        monkeypatch.setattr(connecting, "WITHIN", 0.2)
        url = any_server.url.replace("redis://", "rediss://")
        assert "TLS" in await refusal(url)
        assert "/nowhere/ca" in await refusal(f"{url}?ssl_ca_certs=/nowhere/ca")
