"""How often customers may look at their own usage: a limit on reading limits, in this process.

Counted by our own token buckets. Bounded: `ROOM` keys and as many addresses; when they are full,
newcomers share one bucket, and nobody who counts is thrown out.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from ratelimitd.meters import Meter, MeterKind
from ratelimitd.model import Algorithm, Counter, Kind, Limit, Op, Unit, Window
from ratelimitd.stores.memory.counters import MemoryCounters

if TYPE_CHECKING:
    from ratelimitd.clock import Clock
    from ratelimitd.model import Subject

PER_KEY: Final = 60
"""Requests a minute of one key, any number of which may come at once."""
PER_ADDRESS: Final = 600
"""Requests a minute from one address, whatever keys they show; an IPv6 network of /64 is one."""
ROOM: Final = 32_768
"""Keys, and addresses, that are told apart; about 150 bytes each."""

_SECOND = 1_000_000
_IPV6_PREFIX = 64


class ReadLimit:
    """See the module."""

    def __init__(self, clock: Clock, room: int = ROOM) -> None:
        self._counts = MemoryCounters(clock, room)
        self._by_key = _limit("reads/key", PER_KEY)
        self._by_address = _limit("reads/address", PER_ADDRESS)

    async def of_key(self, reader: Subject) -> int:
        """Charge a key's reading; return 0, or the seconds to wait if there were too many."""
        return await self._charge(self._by_key, reader)

    async def of_address(self, address: str) -> int:
        """Charge a reading from an address (empty: a unix socket), as `of_key` does."""
        return await self._charge(self._by_address, network(address))

    async def _charge(self, limit: Limit, key: bytes) -> int:
        op = Op(Kind.CHARGE, Counter(limit.name, key, bounded=True), limit, 1)
        now, passed, (standing,), _ = await self._counts.take([op])
        return 0 if passed else max(1, -((now - standing.retry_at) // _SECOND))


def network(address: str) -> bytes:
    """Return what addresses of one caller have in common; what is no address is all one."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return b""
    if isinstance(ip, ipaddress.IPv6Address):
        return ip.ipv4_mapped.packed if ip.ipv4_mapped else ip.packed[: _IPV6_PREFIX // 8]
    return ip.packed


def _limit(name: str, amount: int) -> Limit:
    return Limit(
        name=name,
        meter=Meter(name="reads", kind=MeterKind.PREPAID),
        amount=amount,
        window=Window.of(Unit.MINUTE),
        algorithm=Algorithm.TOKEN_BUCKET,
        burst=amount,
    )
