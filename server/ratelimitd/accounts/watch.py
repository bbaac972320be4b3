"""Which thresholds are reached: from the results of decisions to messages in the outbox.

Decisions hand over how their limits stand (`Watch.observe`), which costs those of keys without
alerts a look into a set, and nobody anything while no key has alerts: then nobody is told to hand
over anything. A task makes events of it a moment later, off the decisions' way. Owns that each
event is added to the outbox once by this process, as far as memory is bounded; that it is added
once by all is the outbox's. Whose alerts there are is read from the outbox's feed.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from typing import TYPE_CHECKING, Final, NamedTuple

from ratelimitd.accounts import lookup
from ratelimitd.accounts.aims import aims_of
from ratelimitd.accounts.alerts import due
from ratelimitd.accounts.outbox import Added, Message
from ratelimitd.errors import StoreError, StoreUnavailableError
from ratelimitd.memo import Memo
from ratelimitd.model import Subject

if TYPE_CHECKING:
    from collections import Counter as Tally
    from collections.abc import Callable, Sequence

    from ratelimitd.accounts.aims import Aim, Aims
    from ratelimitd.accounts.alerts import Alert
    from ratelimitd.accounts.outbox import Outbox
    from ratelimitd.model import Op, Standing
    from ratelimitd.policy.registry import Registry
    from ratelimitd.stores.ports import Observe, Taken

_LOG = logging.getLogger("ratelimitd.alerts")

EVERY: Final = 0.2
"""Seconds between two readings of the feed: how late other processes' alerts are at most."""
GATHER: Final = 0.02
"""Seconds in which the standings of one counter become one."""
MOST: Final = 65_536
"""Counters that wait to be looked at; what comes beyond is counted, and due with a later call."""
KEPT: Final = 16_384
"""Keys per generation of those whose alerts are in memory, about 1 KiB each."""
LATE: Final = 600_000_000
"""Microseconds after the end of its window in which an event is still not added twice."""
LAST_TRY: Final = 2.0
"""Seconds for adding what is left when the process ends."""
COUNTED: Final = "alert_events"
"""The metric: events by what became of them: added, known, full, dropped."""
_AT_ONCE, _STEP = 4, 0.004
"""Counters that are looked at together, and seconds until the next: decisions come in between."""
_AGAIN = 1.0  # seconds
_FULL = 1_000_000  # microseconds
_SELDOM = 5

Place = tuple[str, bytes]
"""A counter: its family, and its key, which is a subject."""


class Seen(NamedTuple):
    """How a counter stood."""

    now: int
    standing: Standing


class Watched:
    """A key whose alerts are in memory."""

    __slots__ = ("aims", "alerts", "least")

    def __init__(self, alerts: Sequence[Alert]) -> None:
        self.alerts = alerts
        self.least = min(alert.threshold for alert in alerts)
        """The lowest threshold: what is below cannot be due."""
        self.aims: Aims | None = None


class Watch:
    """See the module."""

    def __init__(
        self,
        outbox: Outbox,
        policies: lookup.Policies,
        registry: Registry,
        counts: Tally[tuple[str, str]],
        on_watching: Callable[[Observe | None], object],
    ) -> None:
        """Add to `outbox` what is due.

        `counts` is `Telemetry.counts`; `on_watching` is told what decisions should tell their
        results to, or None while nobody wants them.
        """
        self._outbox = outbox
        self._policies = policies
        self._registry = registry
        self._counts = counts
        self._on_watching = on_watching
        self._subjects: set[bytes] = set()
        self._loaded: Memo[bytes, Watched] = Memo(KEPT)
        self._loading: set[bytes] = set()
        self._pending: dict[Place, Seen] = {}
        self._woken = asyncio.Event()
        self._mark = 0
        self._waiting = 0
        self._is_up = True
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Learn whose alerts there are, and begin. The outbox is open. Raises `StoreError`."""
        await self.read_feed()
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(each) for each in (self._follow(), self._run())]

    async def close(self) -> None:
        """Add what is left, if the outbox answers, and stop. Idempotent."""
        self._on_watching(None)
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_TRY):
                await self.tell_all()

    def figures(self) -> dict[str, int]:
        """Return numbers for operators."""
        return {
            "alerts_up": int(self._is_up),
            "alerts_keys": len(self._subjects),
            "alerts_pending": len(self._pending),
            "alerts_waiting": self._waiting,
        }

    def changed(self, subject: bytes) -> None:
        """Take note that a key's alerts have changed: they are read when its limits next stand."""
        self._loading.discard(subject)
        self._loaded.drop(subject)
        if not self._subjects:
            self._on_watching(self.observe)
        self._subjects.add(subject)

    def observe(self, ops: Sequence[Op], taken: Taken) -> None:
        """Take note of how the limits of a call stand."""
        subjects, known = self._subjects, self._loaded.get
        for op, standing in zip(ops, taken[2], strict=True):
            key = op[1].key
            if key in subjects:
                watched = known(key)
                limit = standing[0]
                least = 1 if watched is None else watched.least * (limit.burst or limit.amount)
                if standing[3] * 100 >= least:
                    self._note((op[1].family, key), watched, Seen(taken[0], standing))

    async def read_feed(self) -> None:
        """Learn whose alerts have changed, in whichever process. Raises `StoreError`."""
        subjects: Sequence[bytes] = (b"",)
        while subjects:
            self._mark, subjects = await self._outbox.changes(self._mark)
            for subject in subjects:
                self.changed(subject)

    async def tell_all(self) -> bool:
        """Add what is due of all that was noted; say whether the outbox took it.

        What it did not take stays noted, and what was noted of a counter meanwhile.
        """
        noted = iter(list(self._pending.items()))
        while some := list(itertools.islice(noted, _AT_ONCE)):
            taken = await asyncio.gather(*(self._tell(place, seen) for place, seen in some))
            for (place, seen), is_taken in zip(some, taken, strict=True):
                if is_taken and self._pending.get(place) is seen:
                    del self._pending[place]
            if not all(taken):
                return False
            await asyncio.sleep(_STEP)
        return True

    def _note(self, place: Place, watched: Watched | None, seen: Seen) -> None:
        """Remember the most that was used, until the task looks."""
        used = seen.standing.after
        if watched is not None:
            aims = self._current(watched)
            if aims is not None and aims.all_told(place[0], seen.now, used):
                return
        last = self._pending.get(place)
        if last is None:
            if len(self._pending) >= MOST:
                self._counts[COUNTED, "dropped"] += 1
                return
        elif last.standing.after >= used:
            return
        self._pending[place] = seen
        self._woken.set()

    async def _follow(self) -> None:
        """Read the feed for ever, and now and then how many messages wait."""
        for turn in itertools.count():
            await asyncio.sleep(EVERY)
            try:
                await self.read_feed()
                if turn % _SELDOM == 0:
                    self._waiting = await self._outbox.waiting()
            except StoreError as error:
                self._mark = 0  # another server may answer next, that knew less
                if self._is_up:
                    _LOG.warning("the outbox of alerts is away", extra={"why": str(error)})
                self._is_up = False
            else:
                if not self._is_up:
                    _LOG.info("the outbox of alerts is back")
                self._is_up = True

    async def _run(self) -> None:
        """Look at what decisions have told, for ever."""
        while True:
            await self._woken.wait()
            await asyncio.sleep(GATHER)
            self._woken.clear()
            if not await self.tell_all():
                await asyncio.sleep(_AGAIN)
                self._woken.set()

    async def _tell(self, place: Place, seen: Seen) -> bool:
        """Add what is due of how one counter stands; say whether the outbox took it."""
        family, key = place
        try:
            aims = await self._learned(key)
            for aim in aims.of_family.get(family, ()) if aims else ():
                if aim.is_due(seen.now, seen.standing.after):
                    await self._add(aim, family, seen)
        except StoreError:  # whoever reads the feed tells of it
            return False
        return True

    async def _add(self, aim: Aim, family: str, seen: Seen) -> None:
        event = due(aim.alert, aim.limit, family, seen.standing, seen.now)
        if event is None:
            return
        message = Message(event.id, aim.alert.subject, aim.alert.id, event.body, seen.now)
        outcome = await self._outbox.add(message, event.ends + LATE)
        self._counts[COUNTED, outcome.value] += 1
        aim.until = seen.now + _FULL if outcome is Added.FULL else event.ends

    async def _learned(self, key: bytes) -> Aims | None:
        """Return what a key's alerts are about; None where it has none any more."""
        while True:
            watched = self._loaded.get(key) or self._loaded.recall(key)
            if watched is not None:
                break
            self._loading.add(key)
            alerts = await self._outbox.alerts(Subject(key))
            if key not in self._loading:  # changed meanwhile, or read by another
                continue
            self._loading.discard(key)
            if not alerts:
                self._subjects.discard(key)
                if not self._subjects:
                    self._on_watching(None)
                return None
            self._loaded.put(key, Watched(alerts))
        aims = self._current(watched)
        if aims is None:
            callers = await lookup.callers(self._policies, self._registry, [Subject(key)])
            if any(each.known.is_doubtful and each.record is None for each in callers.values()):
                raise StoreUnavailableError("the registry of keys does not answer at present")
            aims = watched.aims = aims_of(watched.alerts, callers, self._policies.matchers)
        return aims

    def _current(self, watched: Watched) -> Aims | None:
        """Return what a key's alerts are about, if that is still so."""
        aims = watched.aims
        if aims is None or aims.matchers is not self._policies.matchers:
            return None
        return aims if aims.are_current else None
