"""Links to real servers, and what they hand out, gathered so that a test can await it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from ratelimitd.stores.redis.connect import Direct
from ratelimitd.stores.redis.connection import packed
from ratelimitd.stores.redis.link import Link
from ratelimitd.stores.redis.urls import parse

WITHIN = 20.0
"""Seconds for anything to happen; a busy machine takes longer than usual."""
PATIENT = 15.0
"""Seconds of silence that no test means."""


def command(*words: object) -> bytes:
    """Return a command as it is sent."""
    return packed(tuple(map(str, words)))


class Replies(list[object]):
    """Replies in the order in which they came; `self.take` takes one."""

    def __init__(self) -> None:
        super().__init__()
        self._news = asyncio.Event()

    def take(self, reply: object) -> None:
        """Be an `on_reply`."""
        self.append(reply)
        self._news.set()

    async def reach(self, count: int) -> list[object]:
        """Return all once there are so many."""
        async with asyncio.timeout(WITHIN):
            while len(self) < count:
                self._news.clear()
                await self._news.wait()
        return list(self)


async def until(holds: Callable[[], object], description: str) -> None:
    """Return once it holds, looking each turn of the event loop and a little later."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + WITHIN
    while not holds():
        assert loop.time() < deadline, f"not within {WITHIN:g} s: {description}"
        turn: asyncio.Future[None] = loop.create_future()
        loop.call_later(0.002, turn.set_result, None)
        await turn


@asynccontextmanager
async def linked(url: str, silence: float = PATIENT, give_up: float = 60.0) -> AsyncIterator[Link]:
    """Open a link for one test."""
    link = Link(Direct(parse(url)), timeout=silence, give_up=give_up)
    await link.start()
    try:
        yield link
    finally:
        await link.close()


async def asked(link: Link, *words: object) -> object:
    """Return the reply to one command."""
    replies = Replies()
    link.send(command(*words), replies.take)
    return (await replies.reach(1))[0]
