"""What befalls a Redis under load, and what callers get: docs/store-failure.md, at real servers.

One case per fault, each with one of the failure policies; tests/soak has all of them with all.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.e2e.support.redis_faults import FAULTS, NOTICED
from tests.e2e.support.redis_outage import MODES, outage
from tests.e2e.support.redis_verdict import faults_of

HOLD = 1.3
"""Seconds that Redis is away once that is noticed."""
BACK_WITHIN = 10.0
"""Seconds, on a machine that does much else; tests/soak has the promised one."""
SILENCE = {"slow": "25ms"}
"""What a limiter bears with, where it is not more than this machine's own pauses: 100 ms."""
CASES = {
    "killed": "local",
    "restarted": "allow",
    "stopped": "deny",
    "cut off": "error",
    "slow": "local",
    "read-only": "allow",
    "out of memory": "deny",
    "scripts flushed": "error",
    "password changed": "local",
}


def test_every_fault_has_its_case() -> None:
    """None is left out."""
    assert list(CASES) == list(FAULTS)


@pytest.mark.parametrize("fault", CASES)
async def test_callers_get_what_is_documented(fault: str) -> None:
    """No call hangs, nobody is charged twice, and the store decides again once Redis is back."""
    seen = await outage(CASES[fault], fault, HOLD, silence=SILENCE.get(fault, "100ms"))
    assert faults_of(seen, fault) == []
    assert seen.recovery < BACK_WITHIN
    if fault in NOTICED:  # the twin: what one policy promises, the others do not
        others = [replace(seen, mode=mode) for mode in MODES if mode != seen.mode]
        assert all(faults_of(other, fault) for other in others)
