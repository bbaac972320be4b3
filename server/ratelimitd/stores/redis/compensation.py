"""What a call that spans servers owes: charges of parts that passed while another part denied.

Given back in the background, in the windows in which they were charged, each once (an id makes a
second try safe), tried again while a server is away. What cannot be given back within `PATIENCE`
stays charged until its window turns: early denials, never too much allowed. Knows no connection.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from ratelimitd.clock import steady_ns
from ratelimitd.errors import StoreError
from ratelimitd.model import Kind
from ratelimitd.stores.ports import Taken, make_taken

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from ratelimitd.model import Op

    Send = Callable[[int, Sequence[Op], int, bytes], Awaitable[None]]

MOST = 10_000
"""Calls that wait to be given back; of more, the oldest stays charged."""
PATIENCE = 100.0
"""Seconds after the first try; ids are remembered for a little longer."""
PAUSE = 0.05
"""Seconds between two tries."""


class _Debt(NamedTuple):
    slot: int
    ops: tuple[Op, ...]
    now: int
    identity: bytes
    until_ns: int


class Owed:
    """Gives back, one after the other."""

    def __init__(
        self,
        send: Send,
        *,
        monotonic_ns: Callable[[], int] = steady_ns,
        new_id: Callable[[], bytes] = lambda: secrets.token_bytes(16),
    ) -> None:
        """Give back by `send(slot, ops, instant of the charge, id)`, which raises `StoreError`."""
        self._send = send
        self._monotonic_ns = monotonic_ns
        self._new_id = new_id
        self._debts: deque[_Debt] = deque()
        self._task: asyncio.Task[None] | None = None
        self.given_back = self.lost = 0

    def __len__(self) -> int:
        return len(self._debts)

    def give_back(self, slot: int, ops: Sequence[Op], taken: Taken) -> Taken:
        """Undo a part's charges soon; return its results as they are without them."""
        undo = tuple(
            _undoing(op)
            for op, standing in zip(ops, taken.standings, strict=True)
            if op.kind <= Kind.ACQUIRE and standing.passes
        )
        if undo:
            if len(self._debts) >= MOST:
                self._debts.popleft()
                self.lost += 1
            until = self._monotonic_ns() + int(PATIENCE * 1e9)
            self._debts.append(_Debt(slot, undo, taken.now, self._new_id(), until))
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._work())
        left = [
            standing._replace(after=standing.before) if op.kind <= Kind.ACQUIRE else standing
            for op, standing in zip(ops, taken.standings, strict=True)
        ]
        return make_taken((taken.now, True, left, taken.repeated))

    async def _work(self) -> None:
        while self._debts:
            debt = self._debts[0]
            try:
                await self._send(debt.slot, debt.ops, debt.now, debt.identity)
            except StoreError:
                if self._monotonic_ns() < debt.until_ns:
                    await asyncio.sleep(PAUSE)
                    continue
                self.lost += 1
            else:
                self.given_back += 1
            if self._debts and self._debts[0] is debt:
                self._debts.popleft()

    async def close(self) -> None:
        """Give back what can be given back within a second."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=1)
            self._task.cancel()
            await asyncio.wait([self._task])


def _undoing(op: Op) -> Op:
    if op.kind == Kind.ACQUIRE:
        return op._replace(kind=Kind.RELEASE, prior=0)
    return op._replace(kind=Kind.REFUND, prior=0)
