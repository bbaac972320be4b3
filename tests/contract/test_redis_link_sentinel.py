"""Sentinels: the link finds the primary by them, and the next one when it is another."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from ratelimitd.errors import StoreError, StoreUnavailableError
from ratelimitd.stores.redis.opening import servers_of
from ratelimitd.stores.redis.servers import Servers
from tests.support.redis.daemon import wait_for
from tests.support.redis.sentinel import Watched, sentinel
from tests.support.replies import PATIENT, Replies, command, until


@pytest.fixture(scope="module", params=["redis", "valkey"])
def watched(request: pytest.FixtureRequest) -> Iterator[Watched]:
    """A primary, a replica and three Sentinels for this file, all with passwords."""
    with sentinel(request.param, password="sesame", sentinel_password="guard") as made:
        yield made


def with_passwords(url: str) -> str:
    """Return a URL with what `watched` asks for."""
    return url.replace("://", "://:sesame@") + "?sentinel_password=guard"


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Servers]:
    """Open what a URL names for one test."""
    servers = servers_of(url, PATIENT)
    await servers.start()
    try:
        yield servers
    finally:
        await servers.close()


async def asked(servers: Servers, *words: object) -> object:
    """Return the reply to one command."""
    replies = Replies()
    servers.send(0, command(*words), replies.take)
    return (await replies.reach(1))[0]


async def refusal(url: str) -> str:
    """Return why nobody is let in."""
    with pytest.raises(StoreUnavailableError) as refused:
        async with opened(url):
            pass
    assert "sesame" not in str(refused.value)
    assert "guard" not in str(refused.value)
    return str(refused.value)


async def test_the_primary_is_found(watched: Watched) -> None:
    """By the first Sentinel that answers, in the database of the URL."""
    url = with_passwords(f"redis+sentinel://127.0.0.1:1,{watched.sentinels[1].address}/limits/2")
    async with opened(url) as servers:
        assert await asked(servers, "SET", "k", "v") == b"OK"
        assert watched.primary.client(db=2).get("k") == b"v"
        assert servers.name_of(0) == "primary of limits"


async def test_what_is_wrong_is_told(watched: Watched) -> None:
    """A service that nobody knows, a password of Sentinels, one of servers, nobody there."""
    url = with_passwords(watched.url)
    assert "knows no service other" in await refusal(url.replace("/limits", "/other"))
    wrong = await refusal(url.replace("password=guard", "password=guards"))
    assert "does not tell where the primary is" in wrong
    assert "refuses the user or password" in await refusal(url.replace("sesame", "sesames"))
    assert "cannot be reached" in await refusal("redis+sentinel://127.0.0.1:1/limits")


async def test_a_failover_is_followed(watched: Watched) -> None:
    """The old primary closes its connections, or says READONLY; the new one is found."""
    async with opened(with_passwords(watched.url)) as servers:
        assert await asked(servers, "SET", "k", "1") == b"OK"
        primary = watched.failover()

        port = [b"port", str(primary.port).encode()]
        while await asked(servers, "CONFIG", "GET", "port") != port:
            # The old one serves on until it is told; the first write after that finds out.
            await asked(servers, "SET", "k", "1")
            await until(lambda: servers.nodes[0].is_up, "it is up")
        assert await asked(servers, "SET", "k", "2") == b"OK"
        assert primary.client().get("k") == b"2"


async def test_a_primary_that_dies_is_replaced() -> None:
    """Commands fail meanwhile; then they go to whom the Sentinels chose."""
    with sentinel() as made:
        async with opened(made.url) as servers:
            assert await asked(servers, "SET", "k", "1") == b"OK"
            made.primary.kill()
            assert isinstance(await asked(servers, "SET", "k", "2"), StoreError)
            await until(lambda: servers.nodes[0].is_up, "it is up again")
            assert await asked(servers, "SET", "k", "3") == b"OK"
            # The first Sentinel, which is asked here, may learn of it later than another.
            wait_for(lambda: made.primary.client().get("k") == b"3", "the new primary has it")
