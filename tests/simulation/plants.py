"""Eight bugs that a limiter on Redis can have, each put in place of one part of the store.

A simulation that finds nothing must be one that could have found something.
"""

import contextlib
from collections.abc import Callable, Sequence

from ratelimitd.errors import StoreError, StoreTimeoutError
from ratelimitd.model import Op
from ratelimitd.stores.ports import Taken
from ratelimitd.stores.redis.counters import RedisCounters
from ratelimitd.stores.redis.link import Link
from ratelimitd.stores.redis.redis_clock import RedisClock
from ratelimitd.stores.redis.wire import Once, Package
from ratelimitd.stores.replay import Replay
from tests.simulation.run import Parts


def _retry(counters: RedisCounters) -> None:
    """Send a decision again that nobody answered, as redis-py does by default."""
    decide = counters._decide

    async def twice(slot: int, ops: Sequence[Op], package: Package, once: Once) -> Taken:
        try:
            return await decide(slot, ops, package, once)
        except StoreTimeoutError:
            counters._fleet._nodes.clear()  # its breaker would keep it from trying
            return await decide(slot, ops, package, once)

    counters._decide = twice  # type: ignore[method-assign]


def _no_compensation(counters: RedisCounters) -> None:
    """Let what a part charged stay charged where another denied."""
    counters._owed.give_back = lambda slot, ops, taken: taken  # type: ignore[method-assign]


def _lost_give_back(counters: RedisCounters) -> None:
    """Try to give back once, and forget it where that fails."""
    send = counters._owed._send

    async def once(slot: int, ops: Sequence[Op], now: int, identity: bytes) -> None:
        with contextlib.suppress(StoreError):
            await send(slot, ops, now, identity)

    counters._owed._send = once


def _kept_cache(counters: RedisCounters) -> None:
    """Go on denying from the cache after a refund."""
    counters._over_limit.forget = lambda ops, *, passed: None  # type: ignore[method-assign]


def _never_closes(counters: RedisCounters) -> None:
    """Open a breaker for good."""
    counters._fleet._probe = _nothing  # type: ignore[method-assign, assignment]


async def _nothing(*_: object) -> None:
    """Do nothing."""


class _HostClock(RedisClock):
    """The host's wall clock in place of the server's."""

    def __init__(self, monotonic_ns: Callable[[], int], epoch: int) -> None:
        super().__init__(monotonic_ns)
        super().observe(epoch)

    def observe(self, instant: int, floor: int = 0) -> None:
        """Learn nothing."""


class _Shifted(Link):
    """Forgets a command that took too long: its late reply goes to the next one."""

    def _tell_silence(self, now: int) -> None:
        super()._tell_silence(now)
        self._stale = 0


class _Nameless(Replay):
    """Replays what may have run without the id that it was sent with."""

    def add(
        self, ops: Sequence[Op], request_id: bytes, *, sent: bool, remember_us: int = 0
    ) -> None:
        """Queue without the id."""
        super().add(ops, b"", sent=sent, remember_us=remember_us)


PLANTS: dict[str, Parts] = {
    "one client retry on timeout": Parts(sabotage=_retry),
    "no compensation": Parts(sabotage=_no_compensation),
    "the host's clock": Parts(clock=_HostClock),
    "cache not undone by a refund": Parts(sabotage=_kept_cache),
    "reply queue shifted by one": Parts(link=_Shifted),
    "replay without ids": Parts(replay=_Nameless),
    "breaker that never closes": Parts(sabotage=_never_closes),
    "lost give-back": Parts(sabotage=_lost_give_back),
}
