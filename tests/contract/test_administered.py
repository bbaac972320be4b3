"""What administrators do with counts, on every store: reset, and a look at what is held."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from ratelimitd.accounts.administration import Administration
from ratelimitd.accounts.known import KnownKeys
from ratelimitd.accounts.leases import mark
from ratelimitd.accounts.memory_records import MemoryRecords
from ratelimitd.errors import InvalidFieldsError
from ratelimitd.model import Kind, Op
from ratelimitd.policy.load import load_text
from ratelimitd.policy.matcher import Matcher
from tests.support.ops import DAY, HOUR, MINUTE, NEW_YEAR, S
from tests.support.policies import HASHER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratelimitd.stores.ports import Taken
    from tests.support.bench import Bench

POLICY = """
domain: test
subject: {entry: api_key, default_tier: free}
attributes: [org]
meters: {requests: prepaid, tokens: postpaid, concurrent: {lease: 15m}}
tiers:
  free:
    requests: [100/hour]
    tokens: 100/month
    concurrent: 5
    limits:
      - {meter: requests, rate: 100/minute, algorithm: sliding_window, name: even}
      - {meter: tokens, rate: 100/month, algorithm: sliding_window, name: even-tokens}
      - {meter: requests, rate: 10/second, algorithm: token_bucket, burst: 100, name: burst}
      - {meter: requests, rate: 1000/day, per: [org], name: of-org}
      - {meter: requests, rate: 9999/day, per: [], name: of-all}
keys:
  - {key: mine, tier: free, org: acme}
  - {key: other, tier: free, org: acme}
"""
SHARED = {"of-org", "of-all"}
OWN = {"requests/hour", "tokens/month", "even", "even-tokens", "burst"}


@dataclass
class Policies:
    """The limiter's part that administration looks at."""

    matchers: dict[str, Matcher]


class Desk:
    """An administrator of one store, and what keys use of it."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        (policy,) = load_text(POLICY, "policy.yaml", HASHER).policies.values()
        self.matcher = Matcher(policy, HASHER)
        self.admin = Administration(
            KnownKeys(MemoryRecords(), bench.clock),
            bench.counters,
            HASHER,
            Policies({"test": self.matcher}),
            lambda: b"a reset of this test",
        )

    async def use(self, key: str, hits: int) -> None:
        """Use so much of each of a key's limits, and hold one lease."""
        caller = self.matcher.callers.known(HASHER.key(key))
        await self.bench.take(
            *(
                Op(Kind.ACQUIRE, counter, limit, 1, lease=f"{key}'s")
                if limit.window is None
                else Op(Kind.REPORT, counter, limit, hits)
                for limit, counter in self.matcher.counted(caller)
            )
        )

    async def used(self, key: str) -> dict[str, int]:
        """Return what a key has used of each limit."""
        told = await self.admin.usage(self.admin.subjects(key))
        return {each.limit.name: each.standing.before for each in told.usage}

    async def reset(self, key: str, meter: str = "") -> set[str]:
        """Reset a key; return the names of what was forgotten."""
        told = await self.admin.reset("test", self.admin.subjects(key), meter)
        assert {each.limit.name for each in told.before} == {*OWN, *SHARED, "concurrent"}
        return {each.limit.name for each in told.forgotten}


@pytest.fixture
async def desk(bench: Bench) -> Desk:
    """Somebody who has used something of every limit, in its present window and the one before."""
    desk = Desk(bench)
    bench.clock.advance(DAY)
    await desk.use("mine", 10)
    bench.clock.advance(31 * DAY + 30 * S)  # half a minute into an hour of the next month
    await desk.use("mine", 10)
    bench.clock.advance(MINUTE)
    await desk.use("mine", 10)
    await desk.use("other", 5)
    return desk


async def test_a_reset_forgets_all_that_is_a_keys_own(desk: Desk) -> None:
    """Also what weighs of sliding windows, and what has not been refilled; leases are left."""
    before = await desk.used("mine")
    assert before == {
        "requests/hour": 20,
        "tokens/month": 20,
        "even": 15,
        "even-tokens": 30,
        "burst": 10,
        "of-org": 25,
        "of-all": 25,
        "concurrent": 1,
    }
    others = await desk.used("other")
    assert await desk.reset("mine") == OWN
    after = await desk.used("mine")
    assert after == {**before, **dict.fromkeys(OWN, 0)}
    assert await desk.used("other") == others
    desk.bench.clock.advance(HOUR)
    assert (await desk.used("mine"))["even-tokens"] == 0
    await desk.use("mine", 3)
    assert (await desk.used("mine"))["tokens/month"] == 3


@pytest.mark.parametrize("room", [0, 100])
async def test_what_newcomers_share_is_not_reset(bench: Bench, room: int) -> None:
    """Of a key that nobody registered and that found no place; one that has a place is reset."""
    desk = Desk(await bench.fresh(NEW_YEAR + 30 * S, room))
    await desk.use("newcomer", 10)
    await desk.use("another", 5)
    before, others = await desk.used("newcomer"), await desk.used("another")
    assert before["requests/hour"] == (10 if room else 15)
    told = await desk.admin.reset("test", desk.admin.subjects("newcomer"), "")
    assert {each.limit.name for each in told.forgotten} == (OWN if room else set())
    assert await desk.used("newcomer") == {**before, **dict.fromkeys(OWN if room else (), 0)}
    assert await desk.used("another") == others


async def test_a_reset_of_one_meter_leaves_the_others(desk: Desk) -> None:
    """Whatever the algorithms of its limits."""
    before, tokens = await desk.used("mine"), {"tokens/month", "even-tokens"}
    assert await desk.reset("mine", "tokens") == tokens
    assert await desk.used("mine") == {**before, **dict.fromkeys(tokens, 0)}


async def test_leases_are_not_reset(desk: Desk) -> None:
    """Also where their meter is named: the requests that hold them go on."""
    assert await desk.reset("mine", "concurrent") == set()
    assert (await desk.used("mine"))["concurrent"] == 1


async def test_a_meter_that_nobody_has_is_no_reset(desk: Desk) -> None:
    """A word that is mistyped would seem to have worked."""
    before = await desk.used("mine")
    with pytest.raises(InvalidFieldsError, match="did you mean `tokens`"):
        await desk.reset("mine", "tokns")
    assert await desk.used("mine") == before


async def test_a_reset_holds_though_the_window_turns_meanwhile(desk: Desk) -> None:
    """What was the present window when it was asked for is the last one when it is done."""
    clock, take = desk.bench.clock, desk.bench.counters.take

    async def late(
        ops: Sequence[Op], request_id: bytes = b"", remember_us: int = 0, lease: str = ""
    ) -> Taken:
        if any(op.kind == Kind.REFUND for op in ops):
            clock.advance(MINUTE)
        return await take(ops, request_id, remember_us, lease)

    desk.bench.counters.take = late  # type: ignore[method-assign]
    await desk.reset("mine")
    assert (await desk.used("mine"))["even"] == 0


async def test_what_is_held_is_told_by_marks(desk: Desk) -> None:
    """Of the limits that are held, with their ends, and no lease's id."""
    (found,) = await desk.admin.leases(desk.admin.subjects("mine"))
    assert (found.domain, found.limit.name, found.held) == ("test", "concurrent", 1)
    (lease,) = found.leases
    assert lease.ends == desk.bench.clock.now + 15 * MINUTE
    assert mark(lease.lease) not in {lease.lease, mark("other's")}
