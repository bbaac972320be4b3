"""Many callers at once: HTTP/1.1 on connections that stay open, in this event loop.

`raw_http` shows everything of one answer; this one is for what only many callers can show.
"""

from __future__ import annotations

import asyncio
import collections
import itertools
import math
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Statuses = collections.Counter[int]
"""How often each HTTP status came."""


class Timed(NamedTuple):
    """What came of a crowd's requests, and when."""

    statuses: Statuses
    seconds: list[float]
    """How long each took: where there is a rate, from when it was due."""


async def crowd(
    address: str, *, callers: int, requests: int, key: Callable[[int], str]
) -> Statuses:
    """Send `requests` in all from `callers` connections; request n has the API key `key(n)`."""
    numbers = iter(range(requests))
    return (await _crowd(address, callers, numbers, key)).statuses


async def timed_crowd(
    address: str,
    *,
    callers: int,
    requests: int,
    key: Callable[[int], str],
    rate: float = math.inf,
) -> Timed:
    """Send as `crowd` does, `rate` requests a second whatever comes back, if there is one."""
    return await _crowd(address, callers, iter(range(requests)), key, rate)


async def crowd_until(
    address: str,
    stop: asyncio.Event,
    *,
    callers: int,
    key: Callable[[int], str],
    rate: float = math.inf,
) -> Statuses:
    """Send requests from `callers` connections until `stop` is set, at most `rate` a second."""
    numbers = itertools.takewhile(lambda _: not stop.is_set(), itertools.count())
    return (await _crowd(address, callers, numbers, key, rate)).statuses


async def _crowd(
    address: str,
    callers: int,
    numbers: Iterator[int],
    key: Callable[[int], str],
    rate: float = math.inf,
) -> Timed:
    host, _, port = address.rpartition(":")
    seen = Timed(Statuses(), [])
    began = time.monotonic()

    async def caller() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            for number in numbers:
                due = began + number / rate if rate < math.inf else time.monotonic()
                if (early := due - time.monotonic()) > 0:
                    await asyncio.sleep(early)
                writer.write(_request(key(number)))
                seen.statuses[await _status(reader)] += 1
                seen.seconds.append(time.monotonic() - due)
        finally:
            writer.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(caller())
    return seen


def _request(key: str) -> bytes:
    return (
        "POST /v1/agents/a1/invoke HTTP/1.1\r\nhost: edge\r\n"
        f"authorization: Bearer {key}\r\ncontent-length: 0\r\n\r\n"
    ).encode()


async def _status(reader: asyncio.StreamReader) -> int:
    """Read one whole answer and return its status."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = head.partition(b"content-length:")[2].split(b"\r\n", 1)[0]
    await reader.readexactly(int(length))
    return int(head.split(b" ", 2)[1])
