"""Looks behind the wall of the memory store: all that it holds, as plain values to compare."""

from copy import deepcopy
from typing import Any

from ratelimitd.stores.memory.counters import MemoryCounters
from ratelimitd.stores.memory.paged import FixedTable, SlidingTable
from ratelimitd.stores.memory.tables import BucketTable, LeaseTable


def contents(counters: MemoryCounters) -> dict[str, Any]:
    """Return everything that is counted, by counter family."""
    found: dict[str, Any] = {}
    for family, table in counters.tables.items():
        if isinstance(table, SlidingTable):
            found[family] = dict(table.counts), dict(table.previous), table.strangers
        elif isinstance(table, FixedTable):
            found[family] = dict(table.counts), table.strangers
        else:
            assert isinstance(table, BucketTable | LeaseTable)
            states = table._states
            found[family] = deepcopy((states._young, states._old, states._young_strangers))
    return found
