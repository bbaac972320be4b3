"""Waits are true: denied one microsecond before, allowed exactly at; whole exactly at the reset."""

from ratelimitd.model import NEVER, Limit, Window
from tests.support.bench import Bench
from tests.support.ops import (
    DAY,
    HOURLY,
    MINUTELY,
    MONTHLY,
    NEW_YEAR,
    SECONDLY,
    S,
    bucket,
    charge,
    fixed,
    peek,
    report,
    sliding,
)

LIMITS = (
    fixed(10),
    fixed(10, MONTHLY),
    sliding(10, MINUTELY),
    sliding(7, MONTHLY),
    sliding(10, Window.lasting(7 * S)),
    bucket(7, SECONDLY, burst=10),
    bucket(3, HOURLY, burst=10),
    bucket(11, Window.lasting(7 * DAY), burst=10),
)
START = NEW_YEAR + 17 * S + 123_457


async def used(bench: Bench, limit: Limit, hits: int) -> Bench:
    """Open a store in which a counter has been used a while ago, and report hits to it."""
    other = await bench.fresh(START)
    await other.take(report(limit, 2))
    other.clock.advance(2 * S + 1)
    await other.take(report(limit, hits))
    return other


async def a_denied_call_passes_at_its_retry_and_not_before(bench: Bench) -> None:
    """If nobody else calls: for every algorithm, with and without debt, for one hit and for all."""
    for limit in LIMITS:
        for hits, need in ((8, 3), (limit.capacity, 1), (limit.capacity, limit.capacity), (25, 4)):
            other = await used(bench, limit, hits)
            denied = await other.one(charge(limit, need))
            assert not denied.passes
            assert denied.retry_at > other.clock.now
            other.clock.advance(denied.retry_at - 1 - other.clock.now)
            again = await other.one(charge(limit, need))
            assert (again.passes, again.retry_at) == (False, denied.retry_at)
            other.clock.advance(1)
            assert (await other.one(charge(limit, need))).passes


async def a_limit_is_whole_at_its_reset_and_not_before(bench: Bench) -> None:
    """Whole: its whole amount could be had at once."""
    for limit in LIMITS:
        for hits in (1, limit.capacity - 2, 25):
            other = await used(bench, limit, hits)
            reset_at = (await other.one(peek(limit))).reset_at
            other.clock.advance(reset_at - 1 - other.clock.now)
            assert (await other.one(peek(limit))).reset_at == reset_at
            assert not await other.passes(peek(limit, limit.capacity))
            other.clock.advance(1)
            assert await other.passes(charge(limit, limit.capacity))


async def a_charge_tells_the_reset_that_it_causes(bench: Bench) -> None:
    """What an allowed call is told is what a peek behind it sees."""
    for limit in LIMITS:
        other = await used(bench, limit, 1)
        charged = await other.one(charge(limit, 2))
        looked = await other.one(peek(limit))
        assert (charged.after, charged.reset_at) == (looked.before, looked.reset_at)


async def a_denied_peek_waits_as_a_charge_would(bench: Bench) -> None:
    """To ask and to take are told the same."""
    for limit in LIMITS:
        other = await used(bench, limit, 8)
        looked, denied = await other.one(peek(limit, 3)), await other.one(charge(limit, 3))
        assert looked == denied


async def what_passes_need_not_wait(bench: Bench) -> None:
    """The first instant at which a passing call passes is now."""
    for limit in LIMITS:
        taken = await bench.take(charge(limit), peek(limit))
        assert {standing.retry_at for standing in taken.standings} == {taken.now}


async def more_than_a_limit_holds_never_fits(bench: Bench) -> None:
    """Neither when it is whole nor when it is used; the amount itself does fit."""
    for limit in LIMITS:
        other = await bench.fresh(START)
        for _ in range(2):
            assert (await other.one(charge(limit, limit.capacity + 1))).retry_at == NEVER
            await other.take(charge(limit))
        assert (await other.one(charge(limit, limit.capacity))).retry_at > other.clock.now


async def a_whole_call_passes_at_the_last_of_its_retries(bench: Bench) -> None:
    """Many limits deny: who waits for the last of them waits for all, and not too long."""
    limits = [fixed(10, MINUTELY), sliding(10), bucket(3, HOURLY, burst=10)]
    other = await bench.fresh(START)
    await other.take(*(report(limit, 8) for limit in limits))
    ops = [charge(limit, 4) for limit in limits]
    denied = await other.take(*ops)
    last = max(standing.retry_at for standing in denied.standings)
    other.clock.advance(last - 1 - other.clock.now)
    assert not await other.passes(*ops)
    other.clock.advance(1)
    assert await other.passes(*ops)


CHECKS = (
    a_denied_call_passes_at_its_retry_and_not_before,
    a_limit_is_whole_at_its_reset_and_not_before,
    a_charge_tells_the_reset_that_it_causes,
    a_denied_peek_waits_as_a_charge_would,
    what_passes_need_not_wait,
    more_than_a_limit_holds_never_fits,
    a_whole_call_passes_at_the_last_of_its_retries,
)
