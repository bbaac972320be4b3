"""What a counter of leases holds, as Redis is asked and as it answers. Pure.

How leases are kept there: `lua/lease.lua`.
"""

from __future__ import annotations

from ratelimitd.errors import StoreUnavailableError
from ratelimitd.stores.ports import HeldLease, Holding
from ratelimitd.stores.redis.connection import packed


def count_of(key: bytes, now: int) -> bytes:
    """Return the command that asks how many leases a key holds."""
    return packed((b"ZCOUNT", key, b"(%d" % now, b"+inf"))


def first_of(key: bytes, now: int, most: int) -> bytes:
    """Return the command that asks for so many of them, the next to end first."""
    limits = (b"BYSCORE", b"LIMIT", b"0", b"%d" % most, b"WITHSCORES")
    return packed((b"ZRANGE", key, b"(%d" % now, b"+inf", *limits))


def read(count: object, first: object) -> Holding:
    """Return what the answers tell. Raises `StoreUnavailableError`."""
    if not isinstance(count, int) or not isinstance(first, list):
        msg = f"Redis does not tell what is held: {count!r:.100}, {first!r:.100}"
        raise StoreUnavailableError(msg)
    leases = [
        HeldLease(name.decode("utf-8", "surrogateescape"), int(float(ends)))
        for name, ends in zip(first[::2], first[1::2], strict=True)
    ]
    return Holding(max(count, len(leases)), leases)
