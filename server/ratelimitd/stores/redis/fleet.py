"""The servers behind a Redis store, each with its batches and its breaker: where decisions go.

Knows nothing of operations. What a connection is: `link`; which server has a slot: `cluster`.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from ratelimitd.clock import steady_ns
from ratelimitd.errors import StoreError, StoreNotAskedError, StoreUnavailableError
from ratelimitd.stores.redis.batcher import Batcher
from ratelimitd.stores.redis.breaker import Breaker, State
from ratelimitd.stores.redis.servers import ask

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ratelimitd.stores.redis.batcher import Verdict
    from ratelimitd.stores.redis.redis_clock import RedisClock
    from ratelimitd.stores.redis.script import Script
    from ratelimitd.stores.redis.servers import Servers
    from ratelimitd.stores.redis.wire import Package

_LOG = logging.getLogger("ratelimitd.store")
TIME = b"*1\r\n$4\r\nTIME\r\n"
"""What a probe asks: cheap, and its answer keeps the clock right."""


class _Node:
    """One server: its breaker, and the batches that go to it."""

    def __init__(self, name: str, monotonic_ns: Callable[[], int]) -> None:
        self.breaker = Breaker(monotonic_ns, on_change=partial(_tell, name))
        self.batchers: dict[int, Batcher] = {}
        self.probing: asyncio.Task[None] | None = None


class Fleet:
    """Sends decisions to the servers of their slots."""

    def __init__(
        self,
        servers: Servers,
        script: Script,
        clock: RedisClock,
        room: int,
        *,
        monotonic_ns: Callable[[], int] = steady_ns,
    ) -> None:
        self._servers = servers
        self._script = script
        self._clock = clock
        self._room = room
        self._monotonic_ns = monotonic_ns
        self._nodes: dict[str, _Node] = {}

    async def start(self) -> None:
        """Connect, and learn the servers' clock. Raises `StoreUnavailableError`."""
        await self._servers.start()
        await self._ask_the_time(0)

    async def _ask_the_time(self, slot: int) -> None:
        match reply := await ask(partial(self._servers.send, slot), TIME):
            case [bytes(seconds), bytes(microseconds)]:
                instant = int(seconds) * 1_000_000 + int(microseconds)
                self._clock.observe(instant, self._clock.floor)
            case _:
                raise StoreUnavailableError(f"Redis does not tell the time: {reply!r:.200}")

    async def ask(self, slot: int, command: bytes) -> object:
        """Return the reply of a slot's server to what reads only. Raises `StoreError`."""
        return await ask(self._sender(self._node(slot), slot), command)

    def submit(self, slot: int, package: Package) -> Awaitable[Verdict]:
        """Decide on the server of a slot. Raises `StoreError`, some only when awaited."""
        node = self._node(slot)
        batcher = node.batchers.get(slot)
        if batcher is None:
            batcher = node.batchers[slot] = self._batcher(node, slot)
        return batcher.submit(package)

    def _node(self, slot: int) -> _Node:
        """Return the server of a slot. Raises `StoreNotAskedError` while it is given up."""
        name = self._servers.name_of(slot)
        node = self._nodes.get(name)
        if node is None:
            node = self._nodes[name] = _Node(name, self._monotonic_ns)
        refusal = node.breaker.refusal()
        if refusal is not None:
            try:
                raise refusal
            finally:
                # The error knows this frame by its traceback: knowing it here makes a cycle, and of
                # thousands a second the collector would stop everybody.
                del refusal
        return node

    def _batcher(self, node: _Node, slot: int) -> Batcher:
        send, several = self._sender(node, slot), self._servers.are_several
        return Batcher(send, self._script, self._clock, self._room, together=several)

    def _sender(self, node: _Node, slot: int) -> Callable[[bytes, Callable[[object], None]], None]:
        def send(command: bytes, on_reply: Callable[[object], None]) -> None:
            def landed(reply: object) -> None:
                if isinstance(reply, StoreError):
                    self._failed(node, slot, reply)
                on_reply(reply)

            self._servers.send(slot, command, landed)

        return send

    def _failed(self, node: _Node, slot: int, error: StoreError) -> None:
        """Stop waiting on a server; what waits for a batch fails with the batch."""
        node.breaker.failed(error)
        for batcher in node.batchers.values():
            batcher.fail(StoreNotAskedError(str(error)))
        if node.probing is None or node.probing.done():
            node.probing = asyncio.get_running_loop().create_task(self._probe(node, slot))

    async def _probe(self, node: _Node, slot: int) -> None:
        """Ask an open breaker's server until it answers in time."""
        while (wait := node.breaker.probe_in_ns()) is not None:
            if wait:
                await asyncio.sleep(wait / 1e9)
                continue
            node.breaker.probe_sent()
            try:
                await self._ask_the_time(slot)
            except StoreError as error:
                node.breaker.probe_ended(error)
            else:
                node.breaker.probe_ended(None)

    def figures(self) -> dict[str, int]:
        """Return numbers for operators."""
        batchers = [each for node in self._nodes.values() for each in node.batchers.values()]
        figures = {
            "store_batches_total": sum(batcher.batches for batcher in batchers),
            "store_batched_total": sum(batcher.decisions for batcher in batchers),
            "store_script_reloads_total": sum(batcher.reloads for batcher in batchers),
        }
        for node in self._nodes.values():
            for name, value in node.breaker.figures().items():
                figures[name] = figures.get(name, 0) + value
        return figures

    async def close(self) -> None:
        """Let go of the servers; what waits fails."""
        error = StoreNotAskedError("the store is closed")
        for node in self._nodes.values():
            if node.probing is not None:
                node.probing.cancel()
            for batcher in node.batchers.values():
                batcher.fail(error)
        await self._servers.close()


def _tell(name: str, state: State, why: str) -> None:
    """Say which server it is; what becomes of calls is said by who decides it (`failure`)."""
    text = "Redis is given up until it answers again" if state is State.OPEN else "Redis is back"
    _LOG.info(text, extra={"server": name, "why": why})
