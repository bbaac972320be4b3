"""Reports and refunds: what has happened is counted, whatever else the call asks."""

from tests.support.bench import Bench
from tests.support.ops import (
    HOUR,
    HOURLY,
    MINUTELY,
    acquire,
    bucket,
    charge,
    fixed,
    leases,
    peek,
    refund,
    release,
    renew,
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


async def a_refund_of_a_past_charge_does_not_reach_into_the_present(bench: Bench) -> None:
    """A fixed window gives back what it was charged itself, and is whole anyway when it turns."""
    limit, then = fixed(3), bench.clock.now
    await bench.take(charge(limit, 3))
    bench.clock.advance(HOUR - 1)
    assert (await bench.one(refund(limit, 1, as_of=then))).after == 2
    bench.clock.advance(1)
    await bench.take(charge(limit, 3))
    standing = await bench.one(refund(limit, 1, as_of=then))
    assert (standing.passes, standing.before, standing.after) == (True, 3, 3)
    assert not await bench.passes(charge(limit))
    assert (await bench.one(refund(limit, 1, as_of=bench.clock.now))).after == 2


async def a_sliding_window_gives_back_what_still_weighs(bench: Bench) -> None:
    """Of the last window from the last window's count, of earlier ones nothing."""
    limit, then = sliding(8), bench.clock.now
    await bench.take(charge(limit, 8))
    bench.clock.advance(HOUR + HOUR // 2)
    await bench.take(charge(limit, 2))
    standing = await bench.one(refund(limit, 4, as_of=then))
    assert (standing.before, standing.after) == (6, 4)
    standing = await bench.one(refund(limit, 100, as_of=then + 1))
    assert (standing.before, standing.after) == (4, 2)
    assert (await bench.one(refund(limit, 1, as_of=bench.clock.now))).after == 1
    bench.clock.advance(HOUR)
    before = (await bench.one(peek(limit))).before
    standing = await bench.one(refund(limit, 1, as_of=then))
    assert (before, standing.before, standing.after) == (1, 1, 1)


async def a_bucket_gives_back_whenever_it_was_charged(bench: Bench) -> None:
    """What has drained meanwhile cannot be given back: a bucket is never more than full."""
    limit = bucket(10, HOURLY, burst=10)
    then = bench.clock.now
    await bench.take(charge(limit, 10))
    bench.clock.advance(HOUR // 2)
    standing = await bench.one(refund(limit, 3, as_of=then))
    assert (standing.before, standing.after) == (5, 2)
    assert (await bench.one(refund(limit, 7, as_of=then))).after == 0
    assert not await bench.passes(peek(limit, 11))


async def a_refund_of_a_strangers_past_takes_no_room(bench: Bench) -> None:
    """And finds nothing to give back where the counter has gone."""
    for limit in (fixed(3), sliding(3)):
        other = await bench.fresh(room=1)
        then = other.clock.now
        await other.take(charge(limit, 3, who="gone", bounded=True))
        other.clock.advance(3 * HOUR)
        standing = await other.one(refund(limit, 3, who="gone", bounded=True, as_of=then))
        assert (standing.before, standing.after) == (0, 0)
        await other.take(charge(limit, 3, who="first", bounded=True))
        assert (await other.one(peek(limit, who="second", bounded=True))).before == 0


async def what_has_a_lasting_id_is_told_once(bench: Bench) -> None:
    """Reports and refunds, however often they come; another id tells anew."""
    for limit in (fixed(9), sliding(9), bucket(9, burst=9)):
        await bench.take(charge(limit, 4))
        call = (report(limit, 3), refund(limit, 1))
        for request_id, repeated, seen in (
            (b"one", False, [(4, 7), (7, 6)]),
            (b"one", True, [(6, 6), (6, 6)]),
            (b"another", False, [(6, 9), (9, 8)]),
            (b"one", True, [(8, 8), (8, 8)]),
        ):
            mine = request_id + limit.name.encode()
            taken = await bench.counters.take(call, mine, HOUR)
            assert taken.repeated is repeated
            assert [(each.before, each.after) for each in taken.standings] == seen
            assert all(each.passes for each in taken.standings)


async def a_lasting_id_lasts(bench: Bench) -> None:
    """For as long as was asked, whatever the first call's counters have become meanwhile."""
    call = (report(fixed(9), 3),)
    assert not (await bench.counters.take(call, b"one", 40 * HOUR)).repeated
    for hours in (1, 38):
        bench.clock.advance(hours * HOUR)
        taken = await bench.counters.take(call, b"one", 40 * HOUR)
        assert (taken.repeated, taken.standings[0].after) == (True, 0)


async def an_id_keeps_nothing_from_being_judged(bench: Bench) -> None:
    """Charges and leases of a call that comes again are charged and held again, and released."""
    limit, room = fixed(2), leases(2)
    call = (charge(limit), acquire(room, "a"), report(fixed(9, MINUTELY)))
    for passed, repeated in ((True, False), (True, True), (False, True)):
        taken = await bench.counters.take(call, b"one", HOUR)
        assert (taken.passed, taken.repeated) == (passed, repeated)
    again = await bench.counters.take((release(room, "a"), renew(room, "a")), b"one", HOUR)
    assert [(each.before, each.after) for each in again.standings] == [(1, 0), (0, 0)]
    assert not (await bench.take(report(fixed(9, MINUTELY)))).repeated


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
    a_refund_of_a_past_charge_does_not_reach_into_the_present,
    a_sliding_window_gives_back_what_still_weighs,
    a_bucket_gives_back_whenever_it_was_charged,
    a_refund_of_a_strangers_past_takes_no_room,
    what_has_a_lasting_id_is_told_once,
    a_lasting_id_lasts,
    an_id_keeps_nothing_from_being_judged,
    a_release_is_done_in_a_denied_call,
)
