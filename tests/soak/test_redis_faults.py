"""Every fault of a Redis with every failure policy, on a limiter as shipped; five minutes."""

from __future__ import annotations

from typing import Final

import pytest

from tests.e2e.support.redis_faults import FAULTS, NOTICED
from tests.e2e.support.redis_fleet import AS_SHIPPED_SILENCE, PATIENT
from tests.e2e.support.redis_outage import MODES, SPENT, outage
from tests.e2e.support.redis_verdict import faults_of
from tests.soak import report_redis

HOLD: Final = {"stopped": 5.0, "killed": 5.0}
"""Seconds that Redis is away once that is noticed, where it is not two."""
BACK_WITHIN: Final = 1.0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fault", FAULTS)
async def test_callers_get_what_is_documented(fault: str, mode: str) -> None:
    """And the store decides again within a second of Redis's return."""
    # Where nothing is to be noticed, no pause of the machine's is to be, either.
    silence = AS_SHIPPED_SILENCE if fault in NOTICED else PATIENT
    seen = await outage(mode, fault, HOLD.get(fault, 2.0), silence=silence)
    report_redis.matrix[fault][mode] = seen
    print(fault, mode, report_redis.cell(fault, seen), flush=True)
    assert faults_of(seen, fault) == []
    assert seen.recovery < BACK_WITHIN


async def test_a_long_pause() -> None:
    """Ten seconds without an answer: nobody waits for it, nothing grows."""
    seen = await outage("deny", "stopped", 10.0, silence=AS_SHIPPED_SILENCE)
    assert faults_of(seen, "stopped") == []
    report_redis.rows[19] = report_redis.cell("stopped", seen) + ", policy deny"


async def test_a_long_absence() -> None:
    """Twenty seconds: every call gets what its policy says, and `local` lets nobody begin anew."""
    seen = await outage("local", "killed", 20.0, silence=AS_SHIPPED_SILENCE)
    assert faults_of(seen, "killed") == []
    during = seen.during()
    again = sum(each.passes for key, each in during if key == SPENT)
    assert again == 0
    report_redis.rows[20] = (
        f"100 % of {len(during):,} calls as `local` says, of the other policies in the table below;"
        f" {again} passed beyond a limit that was used up before"
    )


async def test_the_scripts_are_forgotten_for_a_minute() -> None:
    """No call is decided without the store, and the counts are what passed."""
    seen = await outage("error", "scripts flushed", 30.0, silence=PATIENT)
    assert faults_of(seen, "scripts flushed") == []
    passed, charged = seen.roomy
    assert passed == charged
    report_redis.rows[18] = (
        f"{seen.failures} errors, drift {charged - passed} of {passed:,} calls in 30 s"
    )


def test_a_primary_that_turns_replica() -> None:
    """Of the table: how long after the address leads on."""
    backs = [report_redis.matrix["read-only"][mode].recovery for mode in MODES]
    longest = max(backs)
    report_redis.rows[16] = f"{min(backs):.2f} to {longest:.2f} s after the address leads on"
    assert longest < BACK_WITHIN
