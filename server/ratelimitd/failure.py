"""The failure policy: what calls get that the store did not answer, and what is made good later.

Sits above the port, beside the limiter: each domain's `on_store_failure` decides. Knows nothing of
how a store fails, reconnects, or stops waiting (`stores.redis`); it sees `StoreError`s. A task
looks after a store that is away: it asks for what was asked last, replays what is queued, and says
when all is well. It runs only while there is something to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from typing import TYPE_CHECKING

from ratelimitd.clock import steady_ns
from ratelimitd.errors import StoreError, StoreNotAskedError
from ratelimitd.model import Kind
from ratelimitd.policy.spec import OnStoreFailure
from ratelimitd.settling import settle, settle_unasked
from ratelimitd.stores.replay import Replay
from ratelimitd.stores.standby import LOCAL, Standby

if TYPE_CHECKING:
    from collections import Counter as Tally
    from collections.abc import Callable, Sequence

    from ratelimitd.calls import Call
    from ratelimitd.clock import Clock
    from ratelimitd.decision import Decision
    from ratelimitd.model import Op
    from ratelimitd.stores.ports import Counters, Taken

PAUSE = 0.1
"""Seconds between two looks at a store that is away, on average."""
LAST_TRY = 1.0
"""Seconds for replaying what is still queued when the process ends."""
PROBED = 8
"""Counters of the last call that failed by which it is tried whether the store answers."""

FAILURES = "store_failures"
DROPPED = "store_replay_dropped"

_LOG = logging.getLogger("ratelimitd")
_LOCAL, _ALLOW, _ERROR = OnStoreFailure.LOCAL, OnStoreFailure.ALLOW, OnStoreFailure.ERROR


class Failure:
    """`limiter.OnFailure` of one store. `close` it before the store."""

    def __init__(
        self,
        counters: Counters,
        clock: Clock,
        *,
        new_lease: Callable[[], str],
        counts: Tally[tuple[str, str]],
        on_change: Callable[[bool], object] = bool,
    ) -> None:
        """Stand in for `counters`, which count by `clock`.

        `counts` is `Telemetry.counts`; `on_change` is told whether the store answers.
        """
        self._counters = counters
        self._new_lease = new_lease
        self._counts = counts
        self._on_change = on_change
        self._standby = Standby(clock, new_lease()[:8])
        self._replay = Replay(counters, clock, self._dropped)
        self._asked: Sequence[Op] = ()
        self._failures = 0
        self._gone_at: int | None = None
        self._before = (0, 0, 0)
        self._watch: asyncio.Task[None] | None = None

    @property
    def is_up(self) -> bool:
        """Whether the store answers, as far as this process knows."""
        return self._gone_at is None

    async def decide(
        self,
        call: Call,
        ops: Sequence[Op],
        request_id: bytes,
        error: StoreError,
        known: Taken | None,
    ) -> Decision:
        """Answer a call whose `take` failed; what it reports is queued. `known`: see the port.

        Raises `error` where the policy leaves the call to whoever asks and a limit could deny it.
        """
        mode = call.on_store_failure
        # Where it was raised is of no use any more, and frames that know their error are cycles.
        error.__traceback__ = None
        self._counts[FAILURES, mode.value] += 1
        self._note(error, ops)
        self._queue(ops, request_id, sent=not isinstance(error, StoreNotAskedError))
        self._wake()
        if mode is _LOCAL:
            lease = f"{self._standby.mark}{self._new_lease()}" if call.acquires else ""
            self._standby.seed(ops, known)
            taken = await self._standby.take(call.ops, lease)
            return settle(call, taken, lease)._replace(counted=False)
        if mode is _ERROR and call.judged and not call.refusal:
            try:
                raise error
            finally:
                del error
        return settle_unasked(call, allowed=mode is _ALLOW)

    def abandon(self, ops: Sequence[Op], request_id: bytes) -> None:
        """Queue what a call tells whose `take` nobody waits for any more: it may have failed."""
        if self._queue(ops, request_id, sent=True):
            self._wake()

    def release(self, ops: Sequence[Op]) -> bool:
        """Give back those leases of the operations that were granted here; say whether any was."""
        return self._standby.release(ops)

    def figures(self) -> dict[str, int]:
        """Return numbers for operators, as `Store.figures` does."""
        return {
            "store_up": int(self.is_up),
            "store_standby_counters": self._standby.states,
            "store_replay_queue": self._replay.waiting,
            "store_replayed_total": self._replay.replayed,
        }

    async def look(self) -> bool:
        """Look after the store once; say whether there is nothing left to do."""
        failures = self._failures
        if self._gone_at is not None:
            try:
                await self._counters.take([_nothing(op) for op in self._asked[:PROBED]])
            except StoreError:
                return False
        await self._replay.drain()
        if self._failures == failures:  # else it answers some calls and not others
            self._back()
        return self.is_up and not self._replay.waiting

    async def close(self) -> None:
        """Try once more to replay what is queued, for a second, and tell what is lost."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait((self._watch,))
        if self._replay.waiting:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_TRY):
                    await self._replay.drain()
        if self._replay.waiting:
            msg = "the process ends with %d reports and releases that the store did not take"
            _LOG.error(msg, self._replay.waiting)

    def _note(self, error: StoreError, ops: Sequence[Op]) -> None:
        """Remember the failure, and tell the first one."""
        self._asked = ops
        if self._gone_at is not None:
            self._failures += 1
            return
        self._gone_at, self._before = steady_ns(), self._totals()
        self._failures += 1
        _LOG.warning(
            "the store does not answer (%s); until it does, calls get what their domain's "
            "on_store_failure says",
            error,
        )
        self._on_change(False)

    def _back(self) -> None:
        """Forget what stood in for the store, and tell that it answers again."""
        if self._gone_at is None:
            return
        seconds = (steady_ns() - self._gone_at) / 1e9
        since = (now - then for now, then in zip(self._totals(), self._before, strict=True))
        self._gone_at = None
        self._standby.forget()
        _LOG.warning(
            "the store answers again after %.1f s: %d calls were decided without it, %d reports "
            "and releases were replayed, %d were dropped",
            *(seconds, *since),
        )
        self._on_change(True)

    def _totals(self) -> tuple[int, int, int]:
        return self._failures, self._replay.replayed, self._replay.dropped.total()

    def _queue(self, ops: Sequence[Op], request_id: bytes, *, sent: bool) -> bool:
        """Queue what is told, and the release of leases that nobody was told of."""
        kept = [op for op in ops if op.kind > Kind.PEEK and not op.lease.startswith(LOCAL)]
        if sent:
            kept += [op._replace(kind=Kind.RELEASE) for op in ops if op.kind == Kind.ACQUIRE]
        self._replay.add(kept, request_id, sent=sent)
        return bool(kept)

    def _dropped(self, reason: str, count: int) -> None:
        self._counts[DROPPED, reason] += count

    def _wake(self) -> None:
        if self._watch is not None and not self._watch.done():
            return
        with contextlib.suppress(RuntimeError):  # no loop: it has ended, and the process with it
            loop = asyncio.get_running_loop()
            self._watch = loop.create_task(self._look_after(), name="ratelimitd-store-watch")

    async def _look_after(self) -> None:
        """Look at the store until there is nothing left to do."""
        while True:
            await asyncio.sleep(PAUSE * (0.5 + random.random()))  # noqa: S311 - no secret
            if await self.look():
                return


def _nothing(op: Op) -> Op:
    """Return an operation that changes nothing, and that no store answers but from the counts."""
    if op.limit.window is None:
        return op._replace(kind=Kind.RELEASE, hits=1, prior=0, lease="")
    return op._replace(kind=Kind.REFUND, hits=0, prior=0)
