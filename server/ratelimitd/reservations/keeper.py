"""Grants reservations, settles them once, and gives back those that expire unsettled.

A reservation is its ticket: any process settles it. Only the process that granted one knows of it
without being asked, so that this one gives it back at its expiry, where the meter says so. Both
carry the reservation's id, of which the store does one: a settlement elsewhere and the expiry here
can never both happen. What is timed is bounded, and lost when the process ends: such an estimate
stays charged until its window turns.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from typing import TYPE_CHECKING, NamedTuple

from ratelimitd.errors import InvalidFieldsError, ReservationOverError, StoreError
from ratelimitd.reservations.ticket import Reservation, charged, opened, sealed

if TYPE_CHECKING:
    from collections import Counter as Tally
    from collections.abc import Callable, Mapping, Sequence

    from ratelimitd.clock import Clock
    from ratelimitd.decision import Decision
    from ratelimitd.keys import Hasher
    from ratelimitd.model import Op, Standing
    from ratelimitd.stores.ports import Counters, Observe, Taken

MOST_TIMED = 50_000
"""Reservations that one process gives back by itself; about 1 KiB each."""
LATER_US = 1_000_000
"""Microseconds between an expiry and its giving back, so that a settlement in time comes first."""
PATIENCE_US = 600_000_000
"""Microseconds for which giving back is tried while the store is away; a settlement's id is
remembered for longer."""
AGAIN_US = 1_000_000
AT_ONCE = 64
"""Reservations that are given back at a time."""

COUNTED = "reservations"
"""The metric: reservations by what became of them."""


class Ticket(NamedTuple):
    """A reservation that was granted."""

    text: str
    """What its holder settles it by."""
    expires_at: int
    lasts_us: int
    reservation: Reservation


class Timed(NamedTuple):
    """What is to be given back by itself."""

    ops: Sequence[Op]
    id: bytes
    until: int
    """How long that is tried."""


class Reservations:
    """The reservations of one store."""

    def __init__(
        self,
        counters: Counters,
        clock: Clock,
        hasher: Hasher,
        *,
        new_id: Callable[[], bytes],
        counts: Tally[tuple[str, str]],
        most: int = MOST_TIMED,
    ) -> None:
        """Settle on `counters`, which count by `clock`; `counts` is `Telemetry.counts`."""
        self._counters = counters
        self._clock = clock
        self._hasher = hasher
        self._new_id = new_id
        self._counts = counts
        self._most = most
        self._timed: dict[bytes, Timed] = {}
        self._order: list[tuple[int, bytes]] = []  # a heap; what is settled stays until its turn
        self._timer: asyncio.TimerHandle | None = None
        self._work: asyncio.Task[None] | None = None
        self._closed = False
        self.observe: Observe | None = None
        """Is told how the limits of each settlement stand."""

    def __len__(self) -> int:
        """How many wait for their expiry here."""
        return len(self._timed)

    def grant(self, decision: Decision) -> Ticket | None:
        """Return the ticket of an estimate that was allowed; None where no limit applies."""
        ops = decision.ops
        if not ops:
            return None
        now = self._clock()
        lasts = min(op.limit.meter.reservation_us for op in ops)
        known: Sequence[Standing | None] = decision.every if decision.counted else ()
        standings = known or [None] * len(ops)
        parts = tuple(charged(op, each) for op, each in zip(ops, standings, strict=True))
        reservation = Reservation(self._new_id(), now, now + lasts, parts)
        self._count("granted")
        ops = reservation.giving_back()
        if ops:
            self._time(reservation, ops, reservation.expires_at + LATER_US)
        text = sealed(reservation, self._hasher)
        return Ticket(text, reservation.expires_at, lasts, reservation)

    def abandon(self, ticket: Ticket) -> None:
        """Give an estimate back now: its answer was not taken, so that nobody can settle it."""
        reservation = ticket.reservation
        self._count("undelivered")
        if any(part.charged for part in reservation.parts):
            nothing = dict.fromkeys(reservation.meters, 0)
            self._time(reservation, reservation.settling(nothing), self._clock())

    def read(self, ticket: str, actual: Mapping[str, int]) -> Reservation:
        """Return what a ticket stands for. Raises `InvalidFieldsError`, `ReservationOverError`."""
        reservation = opened(ticket, self._hasher)
        if reservation is None:
            raise InvalidFieldsError.of(("reservation_id", "no reservation was granted with this"))
        if not reservation.meters.issuperset(actual):
            raise InvalidFieldsError.of(("actual", "the reservation has no such meter"))
        if self._clock() >= reservation.expires_at:
            self._count("late")
            raise ReservationOverError("the reservation has expired; settle sooner")
        return reservation

    async def settle(
        self, reservation: Reservation, actual: Mapping[str, int]
    ) -> tuple[Taken, Sequence[Op]]:
        """Put the real amounts in the place of the estimate, unless that was done before.

        Says which operations the result tells of. Raises `StoreError`: then nobody knows, and the
        same may be asked again.
        """
        ops = reservation.settling(actual)
        remember = max(0, reservation.expires_at - self._clock()) + 2 * PATIENCE_US
        taken = await self._counters.take(ops, reservation.id, remember)
        self._timed.pop(reservation.id, None)
        self._count("repeated" if taken.repeated else "settled")
        if self.observe is not None:
            self.observe(ops, taken)
        return taken, ops

    async def give_back_due(self) -> None:
        """Give back what expired by now and nobody settled."""
        while due := self._due():
            results = await asyncio.gather(*map(self._give_back, due), return_exceptions=True)
            for result in results:
                if isinstance(result, BaseException):
                    raise result

    async def close(self) -> None:
        """Give back no more. Idempotent."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait((self._work,))

    def _due(self) -> list[Timed]:
        now = self._clock()
        due: list[Timed] = []
        while self._order and self._order[0][0] <= now and len(due) < AT_ONCE:
            _, name = heapq.heappop(self._order)
            timed = self._timed.pop(name, None)
            if timed is not None:
                due.append(timed)
        return due

    async def _give_back(self, timed: Timed) -> None:
        try:
            taken = await self._counters.take(timed.ops, timed.id, PATIENCE_US)
        except StoreError:
            now = self._clock()
            if now < timed.until:
                self._put(timed, now + AGAIN_US)
            else:
                self._count("not_given_back")
        else:
            self._count("settled_elsewhere" if taken.repeated else "given_back")

    def _time(self, reservation: Reservation, ops: Sequence[Op], due: int) -> None:
        if len(self._timed) >= self._most and reservation.id not in self._timed:
            self._count("not_given_back")
            return
        if len(self._order) > 2 * len(self._timed) + AT_ONCE:  # most of it has been settled
            self._order = [each for each in self._order if each[1] in self._timed]
            heapq.heapify(self._order)
        self._put(Timed(ops, reservation.id, reservation.expires_at + PATIENCE_US), due)

    def _put(self, timed: Timed, due: int) -> None:
        self._timed[timed.id] = timed
        heapq.heappush(self._order, (due, timed.id))
        self._wind()

    def _wind(self) -> None:
        """Set the timer for what is due first."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._closed or not self._order:
            return
        wait = max(0, self._order[0][0] - self._clock()) / 1e6
        with contextlib.suppress(RuntimeError):  # no loop, and so no time that passes
            self._timer = asyncio.get_running_loop().call_later(wait, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._work is None or self._work.done():
            self._work = asyncio.ensure_future(self._give_back_and_wind())

    async def _give_back_and_wind(self) -> None:
        await self.give_back_due()
        self._wind()

    def _count(self, outcome: str) -> None:
        self._counts[COUNTED, outcome] += 1
