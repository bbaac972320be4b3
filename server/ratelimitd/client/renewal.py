"""When leases are renewed: half of their time after they were acquired, and so on. For threads.

One thread per `Limiter`, from the first lease on; it sleeps until something is due. The arithmetic
is the asyncio client's too.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from typing import TYPE_CHECKING

from ratelimitd.client.clock import monotonic

if TYPE_CHECKING:
    from collections.abc import Callable

    Renew = Callable[[], float | None]
    """Renews: seconds that the lease lasts now; None: no more of it; 0: the limiter was away."""


_STALE = 64
"""Released leases that may wait for their turn, beyond as many as are held."""


class Course:
    """When one lease is to be renewed next."""

    __slots__ = ("due", "ends", "lasts")

    def __init__(self, lasts: float, now: float) -> None:
        self.renewed(lasts, now)

    def renewed(self, lasts: float, now: float) -> None:
        """It lasts so many seconds from now: look again after half of them."""
        self.lasts, self.ends, self.due = lasts, now + lasts, now + lasts / 2

    def missed(self, now: float) -> bool:
        """Nobody answered: try again soon; say whether there is still time."""
        self.due = now + self.lasts / 16
        return self.due < self.ends


def after(course: Course, outcome: float | None, now: float) -> bool:
    """Note what came of a renewal; say whether there is to be another."""
    if outcome is None:
        return False
    if outcome:
        course.renewed(outcome, now)
        return True
    return course.missed(now)


class Renewals:
    """The thread that renews."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._order: list[tuple[float, int, Course, Renew]] = []
        self._numbers = itertools.count(1)
        self._live: set[int] = set()
        self._thread: threading.Thread | None = None
        self._closed = False

    def add(self, lasts: float, renew: Renew) -> int:
        """Renew a lease that was acquired now, until `renew` says that it is over; to `drop` by."""
        course = Course(lasts, monotonic())
        with self._changed:
            number = next(self._numbers)
            if self._closed:
                return number
            self._live.add(number)
            if len(self._order) > 2 * len(self._live) + _STALE:  # most were released
                self._order = [each for each in self._order if each[1] in self._live]
                heapq.heapify(self._order)
            self._put(number, course, renew)
            if self._thread is None:
                name = "ratelimitd-renewals"
                self._thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._thread.start()
            return number

    def drop(self, number: int) -> None:
        """Renew this one no more."""
        with self._changed:
            self._live.discard(number)

    def close(self) -> None:
        """Renew no more, and wait for a renewal under way."""
        with self._changed:
            self._closed = True
            self._live.clear()
            self._order.clear()
            self._changed.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _put(self, number: int, course: Course, renew: Renew) -> None:
        heapq.heappush(self._order, (course.due, number, course, renew))
        if self._order[0][1] == number:
            self._changed.notify()

    def _run(self) -> None:
        while (due := self._next()) is not None:
            number, course, renew = due
            outcome = renew()
            with self._changed:
                if number in self._live and after(course, outcome, monotonic()):
                    self._put(number, course, renew)
                else:
                    self._live.discard(number)

    def _next(self) -> tuple[int, Course, Renew] | None:
        """Wait for what is due; None when closed."""
        with self._changed:
            while not self._closed:
                while self._order and self._order[0][1] not in self._live:
                    heapq.heappop(self._order)
                wait = self._order[0][0] - monotonic() if self._order else None
                if wait is not None and wait <= 0:
                    _, number, course, renew = heapq.heappop(self._order)
                    return number, course, renew
                self._changed.wait(wait)
        return None
