"""What a key holds of each of its concurrency limits: one look, which changes nothing.

A lease's id is a secret (whoever has it can give the lease back), so what is told of it is a mark.
"""

from __future__ import annotations

import asyncio
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from ratelimitd.model import Algorithm, Limit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratelimitd.accounts.usage import Counted
    from ratelimitd.stores.ports import HeldLease, Store

MOST = 1_000
"""Leases that are told of one limit; of more, those that end next."""
_MARK_BYTES = 6


class Held(NamedTuple):
    """What a key holds of one limit."""

    domain: str
    limit: Limit
    held: int
    """How many leases."""
    leases: Sequence[HeldLease]
    """Those that end next, up to `MOST`."""


def mark(lease: str) -> str:
    """Return what tells a lease from others. Of 144 random bits, it leads nobody to the id."""
    return blake2b(lease.encode("utf-8", "surrogateescape"), digest_size=_MARK_BYTES).hexdigest()


async def look(store: Store, counted: Sequence[Counted]) -> list[Held]:
    """Return what is held of those limits that are held at all. Raises `StoreError`."""
    limits = [each for each in counted if each.limit.algorithm is Algorithm.LEASE]
    told = await asyncio.gather(*(store.held(each.counter, MOST) for each in limits))
    return [
        Held(each.domain, each.limit, found.held, found.leases)
        for each, found in zip(limits, told, strict=True)
    ]
