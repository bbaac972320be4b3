"""Requests at random, each of which holds a lease: never too many at a time, and all come back.

A thousand here, ten thousand in `make soak`. The seed is printed, and chooses everything but what
the machine is doing meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.support.counting import store_of
from tests.e2e.support.lifecycle import Request, deepest
from tests.e2e.support.lifecycle_load import AT_ONCE, LEASE, POLICY, Lives, live
from tests.e2e.support.limiter import AS_SHIPPED

if TYPE_CHECKING:
    from pathlib import Path

SEED = 5
REQUESTS = 1_000
ENDS = (
    "200",
    "502",
    "503",
    "denied: concurrent",
    "denied: requests",
    "left",
)
"""What must have come, or nothing was shown."""
ONE_MORE = POLICY.replace(f"concurrent: {AT_ONCE}", f"concurrent: {AT_ONCE + 1}")
COUNTING = f"""
from ratelimitd.model import Kind
from ratelimitd.stores.memory.counters import MemoryCounters
from ratelimitd.stores.ports import leased
take, granted = MemoryCounters.take, dict()
async def count(self, ops, request_id=b"", remember_us=0, lease=""):
    ops = list(leased(ops, lease))
    for index, op in enumerate(ops):
        if op.kind == Kind.RELEASE and granted.get(op.counter):
            ops[index] = op._replace(lease=granted[op.counter].pop())
    taken = await take(self, ops, request_id, remember_us)
    for op in ops:
        if op.kind == Kind.ACQUIRE and taken[1]:
            granted.setdefault(op.counter, []).append(op.lease)
    return taken
MemoryCounters.take = count
{AS_SHIPPED}
"""
"""A release gives one back, whichever: as limiters do that count without ids."""
ONE_ID = f"from ratelimitd import app\napp._new_lease = lambda: 'one'\n{AS_SHIPPED}"


def tell(lives: Lives, seed: int) -> None:
    """Print what would be needed to do it again."""
    ends = ", ".join(f"{end} {count}" for end, count in sorted(lives.ends.items()))
    print(f"seed {seed}: {ends}; {lives.replayed} releases sent again")
    print(f"at most {lives.deepest} at a time; all back after {lives.emptied:.2f} s")


@pytest.mark.parametrize(("kind", "transport"), [("memory", "h2corn"), ("redis", "pyvoy")])
async def test_a_key_never_has_more_than_two_requests_and_all_leases_come_back(
    kind: str, transport: str, tmp_path: Path
) -> None:
    """Whatever ends them; at the end nothing is held, after a lease's lifetime at the latest."""
    with store_of(kind) as store:
        lives = await live(SEED, REQUESTS, tmp_path, transport=transport, store=store)
    tell(lives, SEED)
    assert lives.deepest == AT_ONCE
    assert not {end for end in ENDS if lives.ends[end] < 3}
    assert lives.replayed
    assert lives.emptied < LEASE + 4


@pytest.mark.parametrize(
    ("policy", "program"),
    [
        pytest.param(ONE_MORE, AS_SHIPPED, id="one more than promised"),
        pytest.param(POLICY, ONE_ID, id="leases that share an id"),
        pytest.param(POLICY, COUNTING, id="releases that give back another's"),
    ],
)
async def test_a_limiter_that_lets_a_third_in_would_be_found(
    policy: str, program: str, tmp_path: Path
) -> None:
    """The twins: the same requests, and something wrong."""
    lives = await live(SEED, 400, tmp_path, keys=6, policy=policy, program=program)
    tell(lives, SEED)
    assert lives.deepest > AT_ONCE


def test_requests_overlap_from_the_moment_they_are_passed_on_to_their_end() -> None:
    """Not while the limiter is asked, not once their lease has ended, and each key by itself."""

    def request(key: str, began: float, sent: float | None, ended: float) -> Request:
        return Request(key=key, status=200, limit="", lease="", began=began, sent=sent, ended=ended)

    first = [request("a", 0, 1, 4), request("a", 0, 2, 5), request("b", 0, 2, 5)]
    assert deepest(first, lease=9) == {"a": 2, "b": 1}
    assert deepest([*first, request("a", 3, 4, 6)], lease=9)["a"] == 2
    assert deepest([*first, request("a", 3, 3.5, 6)], lease=9)["a"] == 3
    assert deepest([*first, request("a", 3, None, 6)], lease=9)["a"] == 2
    assert deepest([*first, request("a", 3, 3.5, 6)], lease=3)["a"] == 2
