"""One server or several, alike to who sends: the port that `link` and `cluster` stand behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from ratelimitd.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ratelimitd.stores.redis.link import Link, OnReply


class Servers(Protocol):
    """One server or several, alike to who sends."""

    are_several: bool
    """Whether keys are spread, so that a command must be about one slot."""

    async def start(self) -> None:
        """Connect. Raises `StoreUnavailableError`."""
        ...

    def send(self, slot: int, command: bytes, on_reply: OnReply) -> None:
        """Send to the server of a slot; see `Link.send`."""
        ...

    def name_of(self, slot: int) -> str:
        """Return which server has a slot now, for its breaker and its log lines."""
        ...

    @property
    def nodes(self) -> Sequence[Link]:
        """The servers that are known now."""
        ...

    async def close(self) -> None:
        """Let go of all connections."""
        ...


class Single:
    """One server, or the primary of a Sentinel's service."""

    are_several = False

    def __init__(self, link: Link, name: str) -> None:
        self._link = link
        self._name = name
        self.nodes = (link,)
        self.start = link.start
        self.close = link.close

    def send(self, slot: int, command: bytes, on_reply: OnReply) -> None:
        """See `Servers.send`."""
        del slot
        self._link.send(command, on_reply)

    def name_of(self, slot: int) -> str:
        """See `Servers.name_of`."""
        del slot
        return self._name


async def ask(send: Callable[[bytes, OnReply], None], command: bytes) -> object:
    """Return the reply to one command, an error of the server's too. Raises `StoreError`.

    `send` is that of a link, or of servers for one slot. Who waits may be cancelled; the command is
    not.
    """
    future: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    def settle(reply: object) -> None:
        if not future.done():
            future.set_result(reply)

    send(command, settle)
    reply = await future
    if isinstance(reply, StoreError):
        raise reply
    return reply
