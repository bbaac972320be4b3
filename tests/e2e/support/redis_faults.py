"""What can befall a Redis, each fault a context: inside it Redis is away, on exit it is back.

`Stage` is what a fault may touch. All limiters reach Redis through its proxy, so that every fault
has the same way.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TYPE_CHECKING, Final

from tests.support.redis.daemon import LOOPBACK, wait_for
from tests.support.redis.proxy import Proxy
from tests.support.redis.sentinel import follows
from tests.support.redis.server import Server, single

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PASSWORD: Final = "sesame"
SLOW: Final = 0.05
"""Seconds by which each reply of a slow Redis is late."""
FLUSHED_EVERY: Final = 0.05


@dataclasses.dataclass(slots=True)
class Stage:
    """A Redis with a password, one that follows it, and the way to the first."""

    redis: Server
    replica: Server
    proxy: Proxy

    @property
    def url(self) -> str:
        """What limiters are given."""
        return self.proxy.url

    @property
    def serving(self) -> Server:
        """The server to which the way leads."""
        return self.replica if self.proxy.target is self.replica else self.redis


@contextlib.asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    """Set up a Redis of the test's own."""
    at_once = ("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0")
    with single("redis", *at_once, password=PASSWORD) as redis:
        following = (*at_once, "--replicaof", LOOPBACK, str(redis.port))
        with single("redis", *following, password=PASSWORD) as replica:
            await asyncio.to_thread(wait_for, partial(follows, replica), "the replica follows")
            async with Proxy(redis) as proxy:
                yield Stage(redis, replica, proxy)


@contextlib.asynccontextmanager
async def killed(at: Stage) -> AsyncIterator[None]:
    """It is gone until somebody starts it; what it had counted is gone with it."""
    at.redis.kill()
    yield
    await asyncio.to_thread(at.redis.restart)


@contextlib.asynccontextmanager
async def restarted(at: Stage) -> AsyncIterator[None]:
    """It is gone for as long as a start takes."""
    await asyncio.to_thread(at.redis.restart)
    yield


@contextlib.asynccontextmanager
async def stopped(at: Stage) -> AsyncIterator[None]:
    """SIGSTOP: connections stay, and nothing answers."""
    with at.redis.paused():
        yield


@contextlib.asynccontextmanager
async def cut_off(at: Stage) -> AsyncIterator[None]:
    """Connections are reset, and new ones are refused."""
    await at.proxy.refuse()
    at.proxy.cut()
    yield
    await at.proxy.accept()


@contextlib.asynccontextmanager
async def slow(at: Stage) -> AsyncIterator[None]:
    """It does all that it is told, and says so too late."""
    at.proxy.delay_replies = SLOW
    yield
    at.proxy.delay_replies = 0.0


@contextlib.asynccontextmanager
async def read_only(at: Stage) -> AsyncIterator[None]:
    """A failover: the primary is a replica now, and it takes a while until the address leads on."""
    at.replica.ask("REPLICAOF", "NO", "ONE")
    at.redis.ask("REPLICAOF", LOOPBACK, at.replica.port)
    yield
    at.proxy.target = at.replica


@contextlib.asynccontextmanager
async def out_of_memory(at: Stage) -> AsyncIterator[None]:
    """`maxmemory` is reached, and nothing may be evicted."""
    at.redis.ask("CONFIG", "SET", "maxmemory", 1)
    yield
    at.redis.ask("CONFIG", "SET", "maxmemory", 0)


@contextlib.asynccontextmanager
async def flushed(at: Stage) -> AsyncIterator[None]:
    """Redis forgets its scripts twenty times a second."""
    stop = asyncio.Event()

    async def flush() -> None:
        while not stop.is_set():
            at.redis.ask("SCRIPT", "FLUSH")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), FLUSHED_EVERY)

    flushing = asyncio.create_task(flush())
    try:
        yield
    finally:
        stop.set()
        await flushing


@contextlib.asynccontextmanager
async def password_changed(at: Stage) -> AsyncIterator[None]:
    """Nobody is let in with the old one any more, nor stays in."""
    at.redis.ask("CONFIG", "SET", "requirepass", "another")
    at.redis.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    yield
    at.redis.ask("CONFIG", "SET", "requirepass", PASSWORD)


Fault = Callable[[Stage], AbstractAsyncContextManager[None]]
FAULTS: Final[dict[str, Fault]] = {
    "killed": killed,
    "restarted": restarted,
    "stopped": stopped,
    "cut off": cut_off,
    "slow": slow,
    "read-only": read_only,
    "out of memory": out_of_memory,
    "scripts flushed": flushed,
    "password changed": password_changed,
}
UNSEEN: Final = ("scripts flushed",)
"""Faults that no caller notices."""
NOTICED: Final = frozenset(FAULTS) - {"restarted", *UNSEEN}
"""Faults that last until a call was decided without the store. A restart may be too quick."""
FORGETFUL: Final = ("killed", "restarted")
"""Faults after which Redis has forgotten what was counted."""
