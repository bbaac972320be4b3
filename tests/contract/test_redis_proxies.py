"""The proxy and the TLS front of the tests' servers: every fault is what it says, and ends."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio as aredis
import redis.exceptions as faults
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tests.support.certificates import Authority
from tests.support.redis.proxy import Proxy
from tests.support.redis.server import Server
from tests.support.redis.tls import TlsFront, tls_front

SOON = 0.2
"""Seconds of silence after which a client gives up that expects no answer."""


@contextlib.asynccontextmanager
async def client(url: str, patience: float = 10, **options: Any) -> AsyncIterator[aredis.Redis]:  # noqa: ANN401 - redis-py's
    """A client that tries once."""
    made = aredis.Redis.from_url(
        url, protocol=2, retry=Retry(NoBackoff(), 0), socket_timeout=patience, **options
    )
    try:
        yield made
    finally:
        await made.aclose()


@pytest.fixture
async def proxy(redis_server: Server) -> AsyncIterator[Proxy]:
    """A proxy in front of an empty Redis."""
    async with Proxy(redis_server) as running:
        yield running


class TestProxy:
    async def test_it_carries_and_counts(self, proxy: Proxy) -> None:
        """Without a fault a server answers as ever, also what is larger than one packet."""
        async with client(proxy.url) as one, client(proxy.url) as other:
            await one.set("k", b"x" * 1_000_000)
            assert await other.get("k") == b"x" * 1_000_000
            assert (proxy.connections, proxy.open) == (2, 2)

    @pytest.mark.parametrize("way", ["delay_requests", "delay_replies"])
    async def test_a_delay_holds_and_ends(self, proxy: Proxy, way: str) -> None:
        """Every answer is late by the delay; a pipeline is so once, for a delay is no bandwidth."""
        async with client(proxy.url) as asking:
            await asking.ping()
            setattr(proxy, way, 0.1)
            begun = time.monotonic()
            async with asking.pipeline(transaction=False) as pipe:
                for _ in range(100):
                    pipe.execute_command("PING")
                await pipe.execute()
            assert 0.1 <= time.monotonic() - begun < 5
            setattr(proxy, way, 0.0)
            assert await asking.ping()

    async def test_a_cut_resets_every_connection(self, proxy: Proxy) -> None:
        """Who waits sees the reset at once, and who comes next is served."""
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"PING\r\n")
        assert await reader.readline() == b"+PONG\r\n"
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        async with client(proxy.url) as asking:
            assert await asking.ping()
        assert proxy.connections == 2

    async def test_it_refuses_and_accepts_again(self, proxy: Proxy) -> None:
        """A refusal leaves open connections alone; the port stays the same."""
        async with client(proxy.url) as old, client(proxy.url) as new:
            await old.ping()
            await proxy.refuse()
            with pytest.raises(faults.ConnectionError):
                await new.ping()
            assert await old.ping()
            await proxy.accept()
            assert await new.ping()

    async def test_a_black_hole_accepts_and_says_nothing(self, proxy: Proxy) -> None:
        """Nothing arrives, on old connections and on new ones, and no such connection recovers."""
        async with client(proxy.url, SOON) as old, client(proxy.url, SOON) as new:
            await old.ping()
            proxy.black_hole = True
            for asking in (old, new):
                with pytest.raises(faults.TimeoutError):
                    await asking.set("lost", 1)
            proxy.black_hole = False
            assert await new.get("lost") is None

    async def test_lost_replies_are_of_requests_that_were_done(
        self, proxy: Proxy, redis_server: Server
    ) -> None:
        """The server did what was asked, and nobody hears of it."""
        async with client(proxy.url, SOON) as asking:
            await asking.ping()
            proxy.lose_replies = True
            with pytest.raises(faults.TimeoutError):
                await asking.incr("n")
        assert redis_server.client().get("n") == b"1"

    async def test_a_connection_that_lost_a_reply_stays_silent(self, proxy: Proxy) -> None:
        """Otherwise the next reply would be taken for the lost one."""
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        proxy.lose_replies = True
        writer.write(b"GET one\r\n")
        async with client(proxy.url, SOON) as asking:
            with pytest.raises(faults.TimeoutError):
                await asking.ping()  # by now the reply to GET is lost as well
        proxy.lose_replies = False
        writer.write(b"PING\r\n")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), SOON)
        writer.close()
        await writer.wait_closed()

    async def test_new_connections_lead_to_a_new_target(
        self, proxy: Proxy, valkey_server: Server
    ) -> None:
        """Those that are open stay where they were."""
        async with client(proxy.url) as old, client(proxy.url) as new:
            await old.ping()
            proxy.target = valkey_server
            assert "valkey_version" in await new.info("server")
            assert "valkey_version" not in await old.info("server")

    async def test_a_dead_server_ends_the_clients_connection(self, own_redis: Server) -> None:
        """The proxy hides nothing: neither the end nor that nobody is there any more."""
        async with Proxy(own_redis) as proxy:
            old, _ = ends = await asyncio.open_connection("127.0.0.1", proxy.port)
            ends[1].write(b"PING\r\n")
            assert await old.readline() == b"+PONG\r\n"
            own_redis.kill()
            assert await old.read() == b""
            new, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            assert await new.read() == b""
            for end in (ends[1], writer):
                end.close()


class TestTls:
    async def test_it_speaks_tls(self, redis_server: Server) -> None:
        """A client that trusts the authority is served, by the certificate's name too."""
        async with tls_front(redis_server) as front:
            assert front.url == f"rediss://{front.proxy.address}"
            async with client(front.url, ssl_ca_certs=str(front.ca_file)) as asking:
                assert await asking.ping()

    async def test_who_trusts_another_authority_is_not_served(self, redis_server: Server) -> None:
        """The certificate is a real one, which a client can refuse."""
        other = Authority()
        async with tls_front(redis_server, identity=other.issue()) as front:
            await self.refused(front)

    async def test_a_mutual_one_wants_a_certificate(self, redis_server: Server) -> None:
        """Without a certificate of the client's own no command is answered; with it, each is."""
        async with tls_front(redis_server, mutual=True) as front:
            await self.refused(front)
            own: dict[str, Any] = {
                "ssl_certfile": str(front.client_cert),
                "ssl_keyfile": str(front.client_key),
            }
            async with client(front.url, ssl_ca_certs=str(front.ca_file), **own) as asking:
                assert await asking.ping()

    async def refused(self, front: TlsFront) -> None:
        """Ask as a client that has nothing but the authority."""
        async with client(front.url, ssl_ca_certs=str(front.ca_file)) as asking:
            with pytest.raises((faults.ConnectionError, OSError)):
                await asking.ping()
