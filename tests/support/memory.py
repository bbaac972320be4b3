"""Looks behind the wall of the memory store: all that it holds, as plain values to compare."""

from copy import deepcopy
from typing import Any

from ratelimitd.stores.memory.counters import MemoryCounters
from ratelimitd.stores.memory.leases import LeaseTable
from ratelimitd.stores.memory.paged import FixedTable, SlidingTable
from ratelimitd.stores.memory.tables import BucketTable


def contents(counters: MemoryCounters) -> dict[str, Any]:
    """Return everything that is counted, by counter family."""
    found: dict[str, Any] = {}
    for family, table in counters.tables.items():
        if isinstance(table, SlidingTable):
            found[family] = dict(table.counts), dict(table.previous), table.strangers
        elif isinstance(table, FixedTable):
            found[family] = dict(table.counts), table.strangers
        elif isinstance(table, LeaseTable):
            held = table._states
            plain = [{key: deepcopy(each._kinds) for key, each in page.items()}
                     for page in (held.young, held._old)]  # fmt: skip
            found[family] = plain, held._young_strangers
        else:
            assert isinstance(table, BucketTable)
            states = table._states
            found[family] = deepcopy((states.young, states._old, states._young_strangers))
    return found
