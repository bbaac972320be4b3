"""A process that counts in a file and does as it is told: `python -m … PATH INTERVAL`.

It is told by lines on stdin and tells by lines on stdout; the first is `ready`, or `refused` with
the message. Its clock stands still, so that no window ends during a test. SIGTERM and the end of
stdin close the store.

    take N     charge N counters once each, the next N of `COUNTERS` in turn -> took TOTAL
    run        charge them for ever -> `TIME TOTAL` now and then, TIME in monotonic seconds
    limit N    files may not grow beyond N bytes (0: as before) -> limited
    write      write what has changed -> wrote True|False ERRORS UNWRITTEN
    read       -> read SUM, of all counters
"""

from __future__ import annotations

import asyncio
import logging
import resource
import signal
import sys
import time

from ratelimitd.clock import ManualClock
from ratelimitd.errors import StoreUnavailableError
from ratelimitd.stores.file import FileCounters
from tests.support.ops import MONTHLY, NEW_YEAR, charge, fixed, peek

COUNTERS = 500
BATCH = 50
"""Charges between two lines of `run`: what may be counted and not yet told."""
LIMIT = fixed(10**9, MONTHLY)
CHARGES = [charge(LIMIT, who=f"c{index}") for index in range(COUNTERS)]


def tell(*words: object) -> None:
    """Write a line for the test."""
    print(*words, flush=True)


class Child:
    """The store, and what it was told to do."""

    def __init__(self, store: FileCounters) -> None:
        self.store = store
        self.total = 0
        self.running: asyncio.Task[None] | None = None

    async def obey(self, line: str) -> None:
        """Do one line."""
        word, *numbers = line.split()
        match word:
            case "take":
                await self.take(int(numbers[0]))
                tell("took", self.total)
            case "run":
                self.running = asyncio.create_task(self.run())
            case "limit":
                hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
                resource.setrlimit(resource.RLIMIT_FSIZE, (int(numbers[0]) or hard, hard))
                tell("limited")
            case "write":
                well = await self.store.flush()
                tell("wrote", well, self.store.write_errors, self.store.unwritten)
            case "read":
                looks = [peek(LIMIT, who=f"c{index}") for index in range(COUNTERS)]
                taken = await self.store.take(looks)
                tell("read", sum(standing.before for standing in taken.standings))

    async def take(self, count: int) -> None:
        """Charge that many counters."""
        for _ in range(count):
            await self.store.take([CHARGES[self.total % COUNTERS]])
            self.total += 1

    async def run(self) -> None:
        """Charge without a pause, as a busy server would."""
        while True:
            await self.take(BATCH)
            tell(time.monotonic(), self.total)
            await asyncio.sleep(0)


async def main() -> None:
    """Count until told to end."""
    path, interval = sys.argv[1], float(sys.argv[2])
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO)
    store = FileCounters(path, ManualClock(NEW_YEAR), interval=interval)
    try:
        await store.start()
    except StoreUnavailableError as error:
        tell("refused", error)
        return
    child, stopping = Child(store), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    tell("ready")
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    async def listen() -> None:
        async for line in reader:
            await child.obey(line.decode())
        stopping.set()

    listening = asyncio.create_task(listen())
    await stopping.wait()
    listening.cancel()
    if child.running is not None:
        child.running.cancel()
    await store.close()
    tell("closed", child.total)


if __name__ == "__main__":
    asyncio.run(main())
