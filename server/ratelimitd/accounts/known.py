"""What is known of keys in this process: a bounded cache in front of the registry, kept true.

Decisions ask it without waiting. It owns how soon a change is in force here: the registry's feed is
read every `EVERY` seconds, and what changed (or whose time has come) is forgotten, so that it is
looked up by the next decision that needs it. Unknown keys are remembered like others, but apart, so
that whoever invents keys has no registered one forgotten. While the registry is away, what was last
known serves.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from ratelimitd.accounts.meaning import meaning
from ratelimitd.accounts.records import MOST_CHANGES, Mark
from ratelimitd.clock import steady_ns
from ratelimitd.errors import StoreError
from ratelimitd.memo import Memo
from ratelimitd.policy.registry import Known

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ratelimitd.accounts.record import Record
    from ratelimitd.accounts.records import Changes, Records
    from ratelimitd.clock import Clock
    from ratelimitd.model import Subject
    from ratelimitd.policy import spec

_LOG = logging.getLogger("ratelimitd.keys")

EVERY = 0.2
"""Seconds between two readings of the feed."""
SILENCE = 1.0
"""Seconds without the feed after which records are read again, once it is back."""
KEPT = 32_768
"""Keys per generation of a cache; two caches of two generations, about 0.5 KiB each key."""
_TRIES = 3
_MOST_DUE = 1_024
_TURNS = 2  # of the event loop, in which replies that have arrived are handed out


class Entry(Known):
    """What one look told."""

    __slots__ = ("_at", "due", "record")

    def __init__(self, record: Record | None, at: int, *, is_doubtful: bool = False) -> None:
        super().__init__(is_doubtful=is_doubtful)
        self.record = record
        self.due = 0 if record is None else record.changes_at(at)
        """When time alone makes it another, microseconds; 0: never."""
        self._at = at

    def under(self, policy: spec.Policy) -> spec.Record | None:
        """See `Known.under`."""
        return None if self.record is None else meaning(self.record, policy, self._at)


class KnownKeys:
    """See the module. A `policy.registry.Registry`."""

    def __init__(
        self, records: Records, clock: Clock, *, patience: float = 0.012, kept: int = KEPT
    ) -> None:
        """Know what `records` has; no decision waits for it for longer than `patience` seconds."""
        self.records = records
        self._clock = clock
        self._patience = patience
        self._registered: Memo[Subject, Entry] = Memo(kept)
        self._strangers: Memo[Subject, Entry] = Memo(kept)
        self._alive: WeakValueDictionary[Subject, Entry] = WeakValueDictionary()
        """The last of each key, as long as a cache or a plan has it."""
        self._waiting: dict[Subject, asyncio.Future[None]] = {}
        self._due: list[tuple[int, Subject]] = []
        self._doubtful: set[Subject] = set()
        self._mark = Mark()
        self._heard = 0
        self._is_up = True
        self._task: asyncio.Task[None] | None = None
        self.lookups = 0
        """Reads of the registry by decisions."""

    async def start(self) -> None:
        """Open the registry and begin to read its feed. Raises `StoreError`, `SettingsError`."""
        self._heard = steady_ns()
        await self.records.start()
        self._mark = (await self.records.watch(Mark())).mark
        self._task = asyncio.get_running_loop().create_task(self._follow())

    async def close(self) -> None:
        """Read it no more, and let go of the registry."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self.records.close()

    def figures(self) -> dict[str, int]:
        """Return numbers for operators."""
        return {
            "registry_up": int(self._is_up),
            "registry_keys": len(self._registered) + len(self._strangers),
            "registry_lookups_total": self.lookups,
        }

    def known(self, subject: Subject) -> Known | None:
        """See `Registry.known`."""
        entry = self._last(subject)
        return entry if entry is not None and entry.current else None

    def _last(self, subject: Subject) -> Entry | None:
        """Return what was last known, and keep it."""
        entry = self._alive.get(subject)
        if entry is not None:
            cache = self._cache(entry)
            if cache.get(subject) is None and cache.recall(subject) is None:
                cache.put(subject, entry)
        return entry

    def _cache(self, entry: Entry) -> Memo[Subject, Entry]:
        return self._strangers if entry.record is None else self._registered

    async def fetch(self, subjects: Iterable[Subject]) -> None:
        """See `Registry.fetch`. Everybody who waits for a key waits for the same look."""
        wanted = [each for each in set(subjects) if self.known(each) is None]
        new = [each for each in wanted if each not in self._waiting]
        if new and self.records.is_instant:
            await self._read(new)
        elif new:
            self._look(new)
        futures = [self._waiting[each] for each in wanted if each in self._waiting]
        if futures and self._is_up:
            await asyncio.wait(futures, timeout=self._patience)
            for _ in range(_TURNS):
                if all(future.done() for future in futures):
                    break
                await asyncio.sleep(0)
        for each in wanted:
            if self.known(each) is None:
                self._make_do(each)

    def changed(self, subjects: Iterable[Subject]) -> None:
        """Forget what is known of these: it is no longer so."""
        for subject in subjects:
            entry = self._alive.get(subject)
            if entry is not None:
                entry.current = False

    def _look(self, subjects: list[Subject]) -> None:
        """Ask the registry, for all who wait and will wait for these, and on behalf of none."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiting.update(dict.fromkeys(subjects, future))
        task = loop.create_task(self._share(subjects, future))
        future.add_done_callback(lambda _: task)  # which it keeps alive until then

    async def _share(self, subjects: list[Subject], future: asyncio.Future[None]) -> None:
        try:
            await self._read(subjects)
        finally:
            for subject in subjects:
                self._waiting.pop(subject, None)
            if not future.done():
                future.set_result(None)

    async def _read(self, subjects: list[Subject]) -> None:
        found: list[Record | None] = []
        self.lookups += 1
        try:
            for _ in range(_TRIES):
                mark = self._mark
                found = await self.records.get(subjects)
                if self._mark is mark:  # else it may have changed behind what we read
                    break
        except StoreError:
            return
        for subject, record in zip(subjects, found, strict=True):
            self._learn(subject, record)

    def _learn(self, subject: Subject, record: Record | None, *, is_doubtful: bool = False) -> None:
        now = self._clock()
        self.changed((subject,))
        entry = Entry(record, now, is_doubtful=is_doubtful)
        self._cache(entry).put(subject, entry)
        self._alive[subject] = entry
        if entry.due:
            heapq.heappush(self._due, (entry.due, subject))
            if len(self._due) > _MOST_DUE + 2 * len(self._alive):  # most of it is the past's
                self._due = [(each.due, who) for who, each in self._alive.items() if each.due]
                heapq.heapify(self._due)
        if is_doubtful:
            self._doubtful.add(subject)

    def _make_do(self, subject: Subject) -> None:
        """Know what was known last, or that nobody knows, until the registry has answered.

        A look that is under way replaces it when it ends; one that failed is made again as soon as
        the feed can be read.
        """
        last = self._last(subject)
        record = last.record if last is not None else None
        self._learn(subject, record, is_doubtful=True)

    async def _follow(self) -> None:
        """Read the feed for ever."""
        pause = EVERY
        while True:
            await asyncio.sleep(pause)
            pause = EVERY
            try:
                changes = await self.records.watch(self._mark)
            except StoreError as error:
                if self._is_up:
                    _LOG.warning("the registry of keys is away", extra={"why": str(error)})
                self._is_up = False
            else:
                self._take(changes, silent=steady_ns() - self._heard > SILENCE * 1e9)
                self._heard = steady_ns()
                if len(changes.subjects) == MOST_CHANGES:  # an import writes more in a second
                    pause = 0
            self.pass_time()

    def _take(self, changes: Changes, *, silent: bool) -> None:
        if not self._is_up:
            _LOG.info("the registry of keys is back")
        self._is_up = True
        self._mark = changes.mark
        doubtful, self._doubtful = self._doubtful, set()
        self.changed(doubtful)
        self.changed(list(self._alive) if changes.lost or silent else changes.subjects)

    def pass_time(self) -> None:
        """Forget what time alone has changed (expiries, boosts); called now and then."""
        now = self._clock()
        while self._due and self._due[0][0] <= now:
            self.changed((heapq.heappop(self._due)[1],))
