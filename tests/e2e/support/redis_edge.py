"""Requests through Envoy at a rate, each with how long it took from when it was due."""

from __future__ import annotations

import asyncio
import time
from typing import Final

REQUEST: Final = (
    b"POST /v1/agents/a1/invoke HTTP/1.1\r\nhost: edge\r\n"
    b"authorization: Bearer demo-free-0123456789\r\ncontent-length: 0\r\n\r\n"
)
CONNECTIONS: Final = 64


async def requests(address: str, count: int, rate: float) -> list[float]:
    """Send requests at a rate (infinite: as fast as they come back); return their seconds."""
    host, _, port = address.rpartition(":")
    numbers, took = iter(range(count)), list[float]()
    began = time.perf_counter()

    async def caller() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            for number in numbers:
                due = began + number / rate
                if (early := due - time.perf_counter()) > 0:
                    await asyncio.sleep(early)
                started = due if number / rate else time.perf_counter()
                writer.write(REQUEST)
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                assert head.startswith(b"http/1.1 200"), head
                length = head.partition(b"content-length:")[2].split(b"\r\n", 1)[0]
                await reader.readexactly(int(length))
                took.append(time.perf_counter() - started)
        finally:
            writer.close()

    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(caller())
    return took
