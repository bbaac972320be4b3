"""The file store: the memory store, written down behind its back.

Counting is `MemoryCounters` itself, no slower for it but for noting each changed key. A task swaps
out the noted keys every `interval`, reads their states in slices that the event loop does not feel,
and has a thread of its own write them in one transaction. So a killed process loses at most the
last second of counts, and a closed one none; what is at rest is never more than was counted.

Whose file it is: `custody`. How it looks: `journal`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ratelimitd.clock import steady_ns
from ratelimitd.stores import custody
from ratelimitd.stores.journal import Journal, Page
from ratelimitd.stores.memory.counters import DEFAULT_ROOM, MemoryCounters
from ratelimitd.stores.rows import FIELDS, KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence

    from ratelimitd.clock import Clock
    from ratelimitd.model import Limit, Op
    from ratelimitd.stores.memory.table import Noted, Row
    from ratelimitd.stores.ports import Taken

__all__ = ["INTERVAL", "FileCounters"]

INTERVAL = 0.5
"""Seconds from one writing's start to the next's; half of the promised second is for writing."""
_SLICE = 2048
"""Counters read between two turns of the event loop: well under a millisecond."""
_LEAST_PAUSE = 0.05
_NAP_EVERY = 0.001
_NAP = 0.000_02
"""A busy event loop gives the interpreter's lock up for each of its system calls, too briefly for
another thread to wake and take it, but often enough that the other never asks for it (CPython only
asks after 5 ms in which nobody gave it up). Without naps writing took up to 100 times as long."""

_LOG = logging.getLogger("ratelimitd")


class FileCounters:
    """`stores.ports.Store` in this process and in a file. Make it, `start` it, `close` it."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        clock: Clock,
        room: int = DEFAULT_ROOM,
        interval: float = INTERVAL,
    ) -> None:
        """Count by `clock` and write to `path` every `interval` seconds, once started."""
        self._path = Path(path)
        self.clock = clock
        self._interval = interval
        self._memory = MemoryCounters(clock, room, notes_changes=True)
        self.take: Callable[..., Coroutine[Any, Any, Taken]] = self._memory.take
        """See `Counters.take`: the memory store's own, without a call in between."""
        self.held = self._memory.held  # see `Store.held`
        self.write_errors = 0
        """Writings that failed."""
        self.refused = 0
        """Times that a counter could not be written because no row can hold its state."""
        self._failing = False
        self._journal = Journal(self._path)
        self._lock: int | None = None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="ratelimitd-file")
        self._writing = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    @property
    def unwritten(self) -> int:
        """How many counters (leases, ids) have changed since they were last written."""
        return sum(len(each.dirty or ()) for each in self._noted().values())

    def _noted(self) -> dict[str, Noted]:
        """Return all that is written down, by family; the ids of calls are the one without name."""
        return {**self._memory.tables, "": self._memory.ids}

    def figures(self) -> dict[str, int]:
        """See `Store.figures`."""
        return {
            **self._memory.figures(),
            "store_unwritten": self.unwritten,
            "store_write_errors_total": self.write_errors,
            "store_refused_total": self.refused,
        }

    async def start(self) -> None:
        """Lock the file, read it, and begin writing to it. Raises `StoreUnavailableError`."""
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._worker, self._open, self.clock())
        except BaseException:
            # Waited for: whoever is told that this failed may start anew at once.
            await asyncio.shield(loop.run_in_executor(self._worker, self._release))
            self._worker.shutdown(wait=False)
            raise
        self._writer = loop.create_task(self._write_behind(), name="ratelimitd-file")

    async def flush(self) -> bool:
        """Write what has changed since the last time; say whether that went well.

        A failure is counted, logged when it is news, and tried again with the next writing.
        """
        return await asyncio.shield(self._flush())

    async def close(self) -> None:
        """Write the last counts and let go of the file. Idempotent.

        What cannot be written (a full disk) is logged; nobody waits for room.
        """
        self.take = self._refuse
        self._stopping.set()
        await asyncio.shield(self._close())

    async def _close(self) -> None:
        if self._writer is not None:
            await asyncio.wait((self._writer,))
        async with self._writing:
            if self._writer is None:
                return
            if not await self._write_changes():
                _LOG.error(
                    "closed without writing %s counters to %s: what was counted in them since the "
                    "last writing is lost",
                    *(self.unwritten, self._path),
                )
            self._writer = None
            await asyncio.get_running_loop().run_in_executor(self._worker, self._release)
            self._worker.shutdown(wait=False)

    async def _refuse(
        self, ops: Sequence[Op], request_id: bytes = b"", remember_us: int = 0, lease: str = ""
    ) -> Taken:
        """Count nothing after the end: it would be forgotten."""
        del ops, request_id, remember_us, lease
        raise custody.unavailable(self._path, "is closed")

    def _open(self, now: int) -> None:
        """Make the file ours and read it. In the worker's thread."""
        # Absolute and without symbolic links, so that one file has one lock.
        self._path = Path(os.path.realpath(self._path))
        self._journal = Journal(self._path)
        self._lock = custody.claim(self._path)
        try:
            self._load(now)
        except custody.DamagedFileError as damage:
            self._journal.close()
            self._memory.clear()
            aside = custody.set_aside(self._path, now)
            _LOG.warning(
                "the counts in %s cannot be read (%s); that file is now %s, and counting begins "
                "anew",
                *(self._path, damage, aside),
            )
            self._load(now)

    def _load(self, now: int) -> None:
        self._journal.open()

        def receive(family: str, limit: Limit | None, rows: Iterable[Row]) -> None:
            into = self._memory.open(family, limit) if limit else self._memory.ids
            into.restore(rows, now)

        self._journal.load(now, receive)

    def _release(self) -> None:
        self._journal.close()
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    async def _write_behind(self) -> None:
        pause = self._interval
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), max(pause, _LEAST_PAUSE))
            if self._stopping.is_set():
                return
            began = steady_ns()
            await self._flush()
            pause = self._interval - (steady_ns() - began) / 1e9

    async def _flush(self) -> bool:
        async with self._writing:
            return self._writer is not None and await self._write_changes()

    async def _write_changes(self) -> bool:
        """Write what has changed; whatever goes wrong is told, and ends nothing."""
        error: BaseException | None = None
        try:
            pages = await self._collect()
            if not pages:
                return True
            error = await self._write_pages(pages)
        except Exception as unexpected:  # noqa: BLE001 - the next writing has its turn all the same
            error = unexpected
        self.write_errors += error is not None
        self._tell(error)
        return error is None

    async def _write_pages(self, pages: Sequence[Page]) -> BaseException | None:
        loop = asyncio.get_running_loop()
        writing = loop.run_in_executor(self._worker, self._write, pages, self.clock())
        while not writing.done():
            await asyncio.sleep(_NAP_EVERY)
            time.sleep(_NAP)  # noqa: ASYNC251 - see _NAP
        error = writing.exception()
        await self._put_away(pages, written=error is None)
        if error is None:
            self._refuse_rows(writing.result(), "no row can hold their states")
        return error

    async def _collect(self) -> list[Page]:
        """Read the states of all changed counters, giving way to the event loop in between."""
        pages = []
        for family, table in self._noted().items():
            if not table.dirty:
                continue
            keys, table.dirty = table.dirty, set()
            many = len(keys)
            try:
                chunks = await self._read(table, keys)
            except Exception as error:  # noqa: BLE001 - one family fails alone
                self._refuse_rows(many, repr(error))
                continue
            if chunks:
                pages.append(Page(family, table.limit, chunks))
        return pages

    async def _read(self, table: Noted, keys: set[bytes]) -> list[list[int | bytes]]:
        chunks: list[list[int | bytes]] = []
        while keys:
            some = [keys.pop() for _ in range(min(_SLICE, len(keys)))]
            # What is over by now has no row, and needs none.
            chunk = list[int | bytes](chain.from_iterable(table.rows(some, self.clock())))
            if chunk:
                chunks.append(chunk)
            await asyncio.sleep(0)
        return chunks

    def _refuse_rows(self, count: int, why: str) -> None:
        """Count what is only in memory because it cannot be written, and log the first time."""
        if count and not self.refused:
            _LOG.error(
                "%s counters cannot be written to %s (%s); they live in memory only",
                *(count, self._path, why),
            )
        self.refused += count

    async def _put_away(self, pages: Sequence[Page], *, written: bool) -> None:
        """Let go of rows, slice by slice; where they could not be written, note their keys again.

        Only counters that live have rows, so what is noted has a bound however long this goes on.
        """
        for page in pages:
            table = self._noted().get(page.family)  # over by now: nothing to note
            changed = None if table is None else table.dirty
            while page.chunks:
                chunk = page.chunks.pop()
                if changed is not None and not written:
                    changed.update(cast("list[bytes]", chunk[KEY::FIELDS]))
                del chunk
                await asyncio.sleep(0)

    def _write(self, pages: Sequence[Page], now: int) -> int:
        """Write, then sweep; return how many counters no row can hold. In the worker's thread."""
        refused = self._journal.write(pages)
        written = sum(len(chunk) for page in pages for chunk in page.chunks) // FIELDS
        # What was written is at rest, whatever becomes of the sweeping: its turn comes again.
        with contextlib.suppress(sqlite3.Error):
            self._journal.sweep(now, written)
        return refused

    def _tell(self, error: BaseException | None) -> None:
        """Log that writing begins to fail, or works again: once each."""
        failing = error is not None
        if failing and not self._failing:
            _LOG.error(
                "counts cannot be written to %s (%s); they go on in memory and are written as soon "
                "as that works, and lost if the process ends before",
                *(self._path, error),
            )
        elif self._failing and not failing:
            _LOG.warning("counts are written to %s again", self._path)
        self._failing = failing
