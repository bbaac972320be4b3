"""Reports and refunds: what has happened is counted, whatever else the call asks."""

from tests.support.bench import Bench
from tests.support.ops import (
    HOUR,
    MINUTELY,
    acquire,
    bucket,
    charge,
    fixed,
    leases,
    peek,
    refund,
    release,
    report,
    shadow,
    sliding,
)

WINDOWED = (fixed(3), sliding(3), bucket(3, burst=3))


async def a_report_is_always_applied(bench: Bench) -> None:
    """Also in a denied call, and also where it passes the amount."""
    for limit in WINDOWED:
        taken = await bench.take(report(limit, 2), charge(fixed(0, MINUTELY)))
        assert not taken.passed
        standing = taken.standings[0]
        assert (standing.passes, standing.before, standing.after) == (True, 0, 2)
        standing = await bench.one(report(limit, 3))
        assert (standing.passes, standing.before, standing.after) == (True, 2, 5)
        assert standing.remaining == 0


async def a_report_never_denies(bench: Bench) -> None:
    """Debt is no denial of the call that brings it, only of the next that asks."""
    for limit in WINDOWED:
        assert await bench.passes(report(limit, 100), report(limit, 1))
        assert not await bench.passes(charge(limit))
        assert not await bench.passes(peek(limit))


async def reports_on_one_counter_follow_each_other(bench: Bench) -> None:
    """Each begins where the one before it ended."""
    for limit in (fixed(9), sliding(9), bucket(9, burst=9)):
        taken = await bench.take(report(limit, 2), report(limit, 3), refund(limit, 1))
        seen = [(standing.before, standing.after) for standing in taken.standings]
        assert seen == [(0, 2), (2, 5), (5, 4)]


async def a_shadow_limit_counts_reports_beyond_its_amount(bench: Bench) -> None:
    """What is watched shows how far over it would be."""
    assert (await bench.one(report(shadow(fixed(3)), 7))).after == 7


async def a_refund_gives_back(bench: Bench) -> None:
    """Also in a denied call; what was given back can be used again."""
    for limit in WINDOWED:
        await bench.take(charge(limit, 3))
        taken = await bench.take(refund(limit, 2), charge(fixed(0, MINUTELY)))
        standing = taken.standings[0]
        assert (standing.passes, standing.before, standing.after) == (True, 3, 1)
        assert await bench.passes(charge(limit, 2))
        assert not await bench.passes(charge(limit, 1))


async def a_refund_does_not_go_below_nothing(bench: Bench) -> None:
    """Nobody can save up by giving back what was not used."""
    for limit in WINDOWED:
        standing = await bench.one(refund(limit, 5))
        assert (standing.before, standing.after) == (0, 0)
        await bench.take(charge(limit, 1))
        assert (await bench.one(refund(limit, 5))).after == 0
        assert not await bench.passes(charge(limit, 4))
        assert await bench.passes(charge(limit, 3))
        assert not await bench.passes(charge(limit, 1))


async def a_refund_is_of_the_current_window_only(bench: Bench) -> None:
    """What an earlier window used is used."""
    await bench.take(charge(fixed(3), 3), charge(sliding(3), 3))
    bench.clock.advance(HOUR)
    await bench.take(refund(fixed(3), 3), refund(sliding(3), 3))
    assert await bench.passes(charge(fixed(3), 3))
    assert not await bench.passes(charge(fixed(3), 1))
    assert (await bench.one(peek(sliding(3)))).before == 3


async def what_is_asked_beside_a_report_is_judged_on_what_it_leaves(bench: Bench) -> None:
    """What has happened comes first, wherever it stands in the call, and also in a denied one."""
    for limit in WINDOWED:
        for place in (0, 1):
            other = await bench.fresh()
            asked = [charge(limit, 1)]
            asked.insert(place, report(limit, 2))
            taken = await other.take(*asked)
            assert (taken.passed, taken.standings[1 - place].before) == (True, 2)
            assert (taken.standings[1 - place].after, taken.standings[place].after) == (3, 2)
            assert not await other.passes(*asked)
            assert (await other.one(peek(limit))).before == 5


async def a_peek_tells_what_the_reports_of_its_call_leave(bench: Bench) -> None:
    """Remaining is what remains: nobody is told of room that the same call used up."""
    for limit in WINDOWED:
        for place, asked in enumerate(
            ((peek(limit), report(limit, 2)), (report(limit, 2), peek(limit)))
        ):
            other = await bench.fresh()
            taken = await other.take(*asked)
            look = taken.standings[place]
            assert (taken.passed, look.before, look.remaining) == (True, 2, 1)
        assert not await bench.passes(peek(limit), report(limit, 100))


async def what_is_given_back_makes_room_in_the_same_call(bench: Bench) -> None:
    """A charge that would pass alone is not denied for the refund beside it; a lease neither."""
    for limit in WINDOWED:
        await bench.take(charge(limit, 3))
        taken = await bench.take(charge(limit, 1), refund(limit, 2))
        seen = [(standing.passes, standing.before, standing.after) for standing in taken.standings]
        assert (taken.passed, seen) == (True, [(True, 1, 2), (True, 3, 1)])
    await bench.take(acquire(leases(1), "a"))
    assert await bench.passes(acquire(leases(1), "b"), release(leases(1), "a"))
    assert not await bench.passes(acquire(leases(1), "c"))


async def a_release_is_done_in_a_denied_call(bench: Bench) -> None:
    """A response that ended has ended."""
    await bench.take(acquire(leases(1), "a"))
    taken = await bench.take(release(leases(1), "a"), charge(fixed(0)))
    assert (taken.passed, taken.standings[0].passes) == (False, True)
    assert await bench.passes(acquire(leases(1), "b"))


CHECKS = (
    a_report_is_always_applied,
    a_report_never_denies,
    reports_on_one_counter_follow_each_other,
    a_shadow_limit_counts_reports_beyond_its_amount,
    a_refund_gives_back,
    a_refund_does_not_go_below_nothing,
    a_refund_is_of_the_current_window_only,
    what_is_asked_beside_a_report_is_judged_on_what_it_leaves,
    a_peek_tells_what_the_reports_of_its_call_leave,
    what_is_given_back_makes_room_in_the_same_call,
    a_release_is_done_in_a_denied_call,
)
