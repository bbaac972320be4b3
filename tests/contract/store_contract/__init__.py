"""What `stores.ports.Counters` promises, one check for each promise; names no store.

A check is an async function of a `Bench`: it fails by AssertionError. `test_stores.py` runs all of
them against every store, and `test_planted_bugs.py` proves that they find what they are for.
"""

from tests.contract.store_contract import bounds, charging, held, holding, reports, waits

CHECKS = (
    *charging.CHECKS,
    *reports.CHECKS,
    *waits.CHECKS,
    *held.CHECKS,
    *holding.CHECKS,
    *bounds.CHECKS,
)
