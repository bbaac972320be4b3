"""Which server of a cluster has a slot, and where a command goes that met the wrong one.

A redirected command was not executed, so it is sent again, and only then. The map of slots is asked
for anew whenever something says that it is wrong, by one at a time and not too often. A cluster in
trouble (TRYAGAIN, CLUSTERDOWN) is the caller's to bear. What a connection is: `link`.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING

from redis.exceptions import AskError, ClusterDownError, MovedError

from ratelimitd.clock import steady_ns
from ratelimitd.errors import StoreError, StoreNotAskedError, StoreUnavailableError
from ratelimitd.stores.redis.connect import Direct, shown
from ratelimitd.stores.redis.connection import packed
from ratelimitd.stores.redis.link import Link
from ratelimitd.stores.redis.slots import SLOTS, read, told_by, told_by_seeds

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from ratelimitd.stores.redis.link import OnReply
    from ratelimitd.stores.redis.slots import Address, Ranges
    from ratelimitd.stores.redis.urls import Target

_LOG = logging.getLogger("ratelimitd.store")

HOPS = 5
"""Redirections that one command follows; then it fails with the last one."""
LEAST_PAUSE, MOST_PAUSE = 0.1, 1.0
"""Seconds from one look at the map to the next, doubled while nothing changes."""
KEPT = 10.0
"""Seconds that a server without slots is kept after the last command was sent there (ASK)."""
DRAINED = 1.0
"""Seconds that a server which has left the map gets to answer what it was asked."""
NOBODY = "no server"
"""The name of who has a slot that nobody has."""
_ASKING = packed(("ASKING",))
_NEWS = (AskError, ClusterDownError, StoreError)
"""Replies that say something of the map; `MovedError` is an `AskError`."""


class _Node:
    """A server of the cluster."""

    __slots__ = ("address", "asked_ns", "link", "name")

    def __init__(self, address: Address, link: Link) -> None:
        self.address = address
        self.link = link
        self.name = shown(address)
        self.asked_ns = 0


class Cluster:
    """See the module. It is one of the `servers.Servers`."""

    are_several = True

    def __init__(self, target: Target, *, timeout: float) -> None:
        self._target = target
        self._timeout = timeout
        self._nodes: dict[Address, _Node] = {}
        self._owners: list[_Node | None] = [None] * SLOTS
        self._outdated = False
        self._hint: _Node | None = None
        self._looked_ns = 0
        self._pause = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._refreshing = False
        self._closed = False
        self._sweep: asyncio.TimerHandle | None = None
        self.moved = self.asked = self.refreshes = 0
        """Redirections followed, and maps read."""

    @property
    def nodes(self) -> list[Link]:
        """See `Servers.nodes`."""
        return [node.link for node in self._nodes.values()]

    async def start(self) -> None:
        """Read the map and connect to all that have slots. Raises `StoreUnavailableError`.

        A server that cannot be reached does not hinder the others; it is tried again for ever.
        """
        self._closed = False
        self._learn(await self._ask_around(), opening=False)
        nodes = list(self._nodes.values())
        outcomes = await asyncio.gather(
            *(node.link.start() for node in nodes), return_exceptions=True
        )
        failures = [each for each in outcomes if isinstance(each, BaseException)]
        if len(failures) == len(nodes):
            await self.close()
            raise failures[0] if failures else StoreUnavailableError("the cluster has no slots")
        for node, outcome in zip(nodes, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                _LOG.warning("Redis cannot be used", extra={"why": str(outcome)})
                node.link.open()

    def name_of(self, slot: int) -> str:
        """See `Servers.name_of`."""
        node = self._owners[slot]
        return NOBODY if node is None else node.name

    def send(self, slot: int, command: bytes, on_reply: OnReply) -> None:
        """See `Servers.send`. Redirections are followed; their last reply is the reply."""
        node = self._owners[slot]
        if node is None:
            self._refresh_soon()
            refusal = StoreNotAskedError(f"the cluster has no server for slot {slot}")
            asyncio.get_running_loop().call_soon(on_reply, refusal)
        else:
            node.link.send(command, self._following(node, slot, command, on_reply, HOPS))

    async def close(self) -> None:
        """See `Servers.close`."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        nodes, self._nodes = list(self._nodes.values()), {}
        self._owners = [None] * SLOTS
        for node in nodes:
            node.link.on_down = _ignore
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for node in nodes:
            await node.link.close()

    # Redirections

    def _following(
        self, node: _Node, slot: int, command: bytes, on_reply: OnReply, hops: int
    ) -> OnReply:
        def landed(reply: object) -> None:
            if isinstance(reply, _NEWS):
                self._follow(node, slot, command, on_reply, hops, reply)
            else:
                on_reply(reply)

        return landed

    def _follow(
        self,
        node: _Node,
        slot: int,
        command: bytes,
        on_reply: OnReply,
        hops: int,
        news: AskError | ClusterDownError | StoreError,
    ) -> None:
        """Send a redirected command where it belongs, or hand out what cannot be helped."""
        if not isinstance(news, AskError) or not hops:
            self._refresh_soon()
            on_reply(news)
            return
        other = self._node((news.host or node.address[0], news.port))
        following = self._following(other, slot, command, on_reply, hops - 1)
        if isinstance(news, MovedError):
            self.moved += 1
            self._owners[slot] = other
            self._refresh_soon(other)
            other.link.send(command, following)
        else:
            self.asked += 1
            other.asked_ns = steady_ns()
            other.link.send_many(_ASKING + command, 2, following)

    # The map

    def _node(self, address: Address, *, opening: bool = True) -> _Node:
        """Return a server, which is connected to if it is new."""
        node = self._nodes.get(address)
        if node is None:
            link = Link(Direct(self._target, address), timeout=self._timeout)
            node = self._nodes[address] = _Node(address, link)
            link.on_down = lambda _: self._refresh_soon()
            if opening:
                link.open()
        return node

    def _refresh_soon(self, hint: _Node | None = None) -> None:
        """Have the map read again, from `hint` if it can say; once for all who want it."""
        self._outdated = True
        self._hint = hint or self._hint
        if not self._refreshing and not self._closed:
            self._refreshing = True
            _ = self._run(self._refresh())

    async def _refresh(self) -> None:
        told = ""
        try:
            while self._outdated:
                wait = self._pause - (steady_ns() - self._looked_ns) / 1e9
                if wait > 0:
                    await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                self._outdated = False
                try:
                    changed = self._learn(await self._ask_around())
                except StoreError as error:
                    self._outdated, changed = True, False
                    if told != (told := str(error)):
                        _LOG.warning("no server tells who has which slots", extra={"why": told})
                self._looked_ns = steady_ns()
                grown = min(MOST_PAUSE, max(LEAST_PAUSE, 2 * self._pause))
                self._pause = LEAST_PAUSE if changed else grown
        finally:
            self._refreshing = False

    async def _ask_around(self) -> Ranges:
        """Return who has which slots, as the first says who can. Raises `StoreUnavailableError`."""
        hint, self._hint = self._hint, None
        up = [node for node in self._nodes.values() if node.link.is_up and node is not hint]
        random.shuffle(up)
        if hint is not None and hint.link.is_up:
            up.insert(0, hint)
        for node in up:
            if ranges := read(await told_by(node.link), node.address[0]):
                return ranges
        return await told_by_seeds(self._target)

    def _learn(self, ranges: dict[Address, list[tuple[int, int]]], *, opening: bool = True) -> bool:
        """Take over who has which slots; return whether that is new."""
        owners: list[_Node | None] = [None] * SLOTS
        for address, parts in ranges.items():
            node = self._node(address, opening=opening)
            for first, last in parts:
                owners[first : last + 1] = [node] * (last + 1 - first)
        changed = owners != self._owners
        self._owners = owners
        self.refreshes += 1
        self._part_with(node for address, node in self._nodes.items() if address not in ranges)
        return changed

    def _part_with(self, gone: Iterable[_Node]) -> None:
        """Close the connections to servers that have no slots, and are not about to get some."""
        now = steady_ns()
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for node in list(gone):
            if node.asked_ns and now - node.asked_ns < KEPT * 1e9:
                loop = asyncio.get_running_loop()
                self._sweep = self._sweep or loop.call_later(KEPT, self._refresh_soon)
            else:
                del self._nodes[node.address]
                node.link.on_down = _ignore
                _ = self._run(_drained(node.link))

    def _run(self, coroutine: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _drained(link: Link) -> None:
    """Close a link; what it was asked last may still be answered."""
    try:
        if link.unanswered:
            await asyncio.sleep(DRAINED)
    finally:
        await link.close()


def _ignore(_: object) -> None:
    """Take no notice."""
