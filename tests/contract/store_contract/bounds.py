"""Room for invented counters is bounded: newcomers share one, and no live counter is evicted."""

from ratelimitd.model import Counter, Kind, Limit
from tests.support.bench import Bench
from tests.support.ops import (
    DAY,
    HOUR,
    HOURLY,
    MINUTE,
    acquire,
    bucket,
    charge,
    fixed,
    leases,
    op,
    peek,
    refund,
    release,
    renew,
    report,
    sliding,
)

WINDOWED = (fixed(3), sliding(3), bucket(3, HOURLY, burst=3))


async def crowded(bench: Bench, limit: Limit, room: int = 2) -> Bench:
    """Open a store with little room and fill it with invented counters, one hit each."""
    other = await bench.fresh(room=room)
    for number in range(room):
        await other.take(charge(limit, who=f"known-{number}", bounded=True))
    return other


async def newcomers_share_one_counter_when_room_is_out(bench: Bench) -> None:
    """Together they have what one caller has."""
    for limit in WINDOWED:
        other = await crowded(bench, limit)
        seen = [
            await other.one(charge(limit, who=f"new-{number}", bounded=True)) for number in range(4)
        ]
        assert [standing.passes for standing in seen] == [True, True, True, False]
        assert [standing.after for standing in seen] == [1, 2, 3, 3]


async def newcomers_of_one_call_share_one_counter_too(bench: Bench) -> None:
    """Also where the first of them takes the last place; charges on the shared counter add up."""
    for limit in WINDOWED:
        other = await bench.fresh(room=1)
        ops = [
            charge(limit, hits, who=f"new-{place}", bounded=True)
            for place, hits in enumerate((3, 1, 2, 1))
        ]
        taken = await other.take(*ops)
        assert [standing.passes for standing in taken.standings] == [True, True, True, False]
        taken = await other.take(*ops[:3])
        assert [standing.after for standing in taken.standings] == [3, 1, 3]
        assert (await other.one(peek(limit, who="new-9", bounded=True))).before == 3


async def a_peek_of_a_newcomer_takes_no_place_from_the_others(bench: Bench) -> None:
    """Who looks first does not push the one who charges onto the shared counter."""
    for limit in WINDOWED:
        other = await bench.fresh(room=1)
        await other.take(
            peek(limit, who="looks", bounded=True), charge(limit, 3, who="asks", bounded=True)
        )
        assert (await other.one(peek(limit, who="asks", bounded=True))).before == 3
        assert (await other.one(peek(limit, who="looks", bounded=True))).before == 0


async def who_crowds_a_counter_of_its_own_leaves_the_shared_one_alone(bench: Bench) -> None:
    """A registered caller that invents counters without end is limited with itself only."""
    for limit in (*WINDOWED, leases(3)):
        other = await bench.fresh(room=0)
        for number in range(5):
            invented = op(
                Kind.CHARGE if limit.window else Kind.ACQUIRE,
                limit,
                who=f"own-{number}",
                bounded=True,
                lease=f"{number}",
            )
            apart = Counter(
                invented.counter.family, invented.counter.key, bounded=True, overflow=b"~overflow@1"
            )
            taken = await other.take(invented._replace(counter=apart))
            assert taken.passed == (number < 3)
        assert (await other.one(peek(limit, 3, who="new", bounded=True))).passes


async def a_live_counter_is_never_evicted(bench: Bench) -> None:
    """However many are invented, who was there keeps what was used."""
    for limit in WINDOWED:
        other = await crowded(bench, limit)
        for number in range(50):
            await other.take(report(limit, who=f"new-{number}", bounded=True))
        for number in range(2):
            known = await other.one(charge(limit, 2, who=f"known-{number}", bounded=True))
            assert (known.passes, known.before, known.after) == (True, 1, 3)


async def registered_counters_need_no_room(bench: Bench) -> None:
    """They are not invented: each has its own, in a full store and before it."""
    for limit in WINDOWED:
        other = await crowded(bench, limit)
        for number in range(5):
            standing = await other.one(charge(limit, 3, who=f"registered-{number}"))
            assert (standing.passes, standing.before) == (True, 0)


async def registered_counters_take_no_room(bench: Bench) -> None:
    """A thousand customers leave strangers as much room as none."""
    for limit in WINDOWED:
        other = await bench.fresh(room=2)
        for number in range(5):
            await other.take(charge(limit, who=f"registered-{number}"))
        for number in range(2):
            assert await other.passes(charge(limit, 3, who=f"new-{number}", bounded=True))


async def looking_takes_no_room(bench: Bench) -> None:
    """Peeks and denials of strangers create nothing."""
    for limit in WINDOWED:
        other = await bench.fresh(room=1)
        for number in range(5):
            await other.take(peek(limit, who=f"looks-{number}", bounded=True))
            await other.take(charge(limit, 9, who=f"asks-{number}", bounded=True))
        await other.take(charge(limit, 3, who="first", bounded=True))
        assert (await other.one(peek(limit, who="first", bounded=True))).before == 3
        assert (await other.one(peek(limit, who="second", bounded=True))).before == 0


async def an_invented_refund_takes_no_room(bench: Bench) -> None:
    """Giving back what was never taken leaves nothing behind."""
    for limit in WINDOWED:
        other = await bench.fresh(room=1)
        await other.take(refund(limit, who="gives", bounded=True))
        await other.take(charge(limit, 3, who="first", bounded=True))
        assert (await other.one(peek(limit, who="second", bounded=True))).before == 0


async def what_was_told_once_is_not_told_again_to_the_shared_counter(bench: Bench) -> None:
    """Though its own counter has gone by then, and newcomers find no place."""
    for limit in WINDOWED:
        other = await bench.fresh(room=1)
        call = (report(limit, 3, who="mine", bounded=True),)
        assert not (await other.counters.take(call, b"once", 40 * HOUR)).repeated
        for _ in range(3):
            other.clock.advance(3 * HOUR)
            await other.take(charge(limit))
        await other.take(charge(limit, who="filler", bounded=True))
        taken = await other.counters.take(call, b"once", 40 * HOUR)
        assert (taken.repeated, taken.standings[0].after) == (True, 0)
        assert (await other.one(peek(limit, who="new", bounded=True))).before == 0
        shared = (report(limit, 2, who="yours", bounded=True),)
        for repeated in (False, True):
            taken = await other.counters.take(shared, b"other", 40 * HOUR)
            assert (taken.repeated, taken.standings[0].after) == (repeated, 2)
        assert (await other.one(peek(limit, who="new", bounded=True))).before == 2


async def there_is_room_again_when_counters_have_gone(bench: Bench) -> None:
    """Counters disappear by themselves; at the latest after two windows or lifetimes."""
    for limit in WINDOWED:
        other = await crowded(bench, limit)
        for _ in range(3):
            other.clock.advance(3 * HOUR)
            await other.take(charge(limit))
        assert await other.passes(charge(limit, 3, who="new", bounded=True))
        assert (await other.one(peek(limit, who="newer", bounded=True))).before == 0


async def room_is_bounded_while_counters_stay_alive(bench: Bench) -> None:
    """Who calls in every window keeps a place, and the places do not grow by that."""
    limit = sliding(3)
    other = await crowded(bench, limit)
    for _ in range(4):
        other.clock.advance(HOUR)
        for number in range(2):
            await other.take(charge(limit, who=f"known-{number}", bounded=True))
        assert await other.passes(charge(limit, 1, who="new-a", bounded=True))
        shared = await other.one(peek(limit, who="new-b", bounded=True))
        assert shared.before > 0


async def leases_of_newcomers_share_one_counter(bench: Bench) -> None:
    """And are given back from it, also when there is room again."""
    limit = leases(2)
    other = await bench.fresh(room=1)
    await other.take(acquire(limit, "k", who="known", bounded=True))
    await other.take(acquire(limit, "a", who="new-a", bounded=True))
    shared = await other.one(acquire(limit, "b", who="new-b", bounded=True))
    assert (shared.passes, shared.before) == (True, 1)
    assert not await other.passes(acquire(limit, "c", who="new-c", bounded=True))
    given_back = await other.one(release(limit, "a", who="new-a", bounded=True))
    assert (given_back.before, given_back.after) == (2, 1)
    assert (await other.one(peek(limit, who="known", bounded=True))).before == 1


async def leases_of_newcomers_are_renewed_where_they_are_held(bench: Bench) -> None:
    """On the counter that they share; nobody else's lives longer for it."""
    limit = leases(2)
    other = await bench.fresh(room=1)
    await other.take(acquire(limit, "k", who="known", bounded=True))
    for name in "ab":
        await other.take(acquire(limit, name, who=f"new-{name}", bounded=True))
    other.clock.advance(15 * MINUTE - 1)
    renewed = await other.one(renew(limit, "a", who="new-a", bounded=True))
    assert (renewed.passes, renewed.before, renewed.after) == (True, 2, 2)
    assert not (await other.one(renew(limit, "x", who="new-a", bounded=True))).passes
    assert (await other.one(renew(limit, "k", who="known", bounded=True))).passes
    other.clock.advance(1)
    for name, held in (("a", True), ("b", False)):
        assert (await other.one(renew(limit, name, who=f"new-{name}", bounded=True))).passes is held
    given_back = await other.one(release(limit, "a", who="new-a", bounded=True))
    assert (given_back.before, given_back.after) == (1, 0)
    assert (await other.one(peek(limit, who="known", bounded=True))).before == 1


async def a_shared_lease_is_given_back_when_there_is_room_again(bench: Bench) -> None:
    """Its owner has a counter of his own by then, but the lease stands where it was granted."""
    limit = leases(1)
    other = await bench.fresh(room=2)
    for name in "kl":
        await other.take(acquire(limit, name, who=f"known-{name}", bounded=True))
    other.clock.advance(15 * MINUTE)
    await other.take(acquire(limit, "r", who="registered"))
    other.clock.advance(MINUTE)
    await other.take(acquire(limit, "a", who="new-a", bounded=True))
    other.clock.advance(14 * MINUTE)
    await other.take(acquire(limit, "s", who="registered"))
    await other.take(release(limit, "a", who="new-a", bounded=True))
    for name in "xy":
        assert await other.passes(acquire(limit, name, who=f"filler-{name}", bounded=True))
    assert await other.passes(acquire(limit, "b", who="new-b", bounded=True))


async def others_do_not_make_a_counter_forgotten(bench: Bench) -> None:
    """Whatever is counted beside it, a counter is remembered until it is whole, debt included."""
    for limit in WINDOWED:
        other = await bench.fresh()
        await other.take(charge(limit, who="the first"))
        other.clock.advance(HOUR)
        await other.take(report(limit, 100))
        whole = (await other.one(peek(limit))).reset_at
        number = 0
        while other.clock.now + 7 * MINUTE < whole:
            other.clock.advance(7 * MINUTE)
            number += 1
            await other.take(charge(limit, who=f"other-{number}"))
        other.clock.advance(whole - 1 - other.clock.now)
        await other.take(charge(limit, who="the last"))
        assert (await other.one(peek(limit))).before > 0


async def every_counter_vanishes(bench: Bench) -> None:
    """After its window, two for a sliding one, the time to fill for a bucket: as if unused."""
    for limit, after in ((fixed(3), HOUR), (sliding(3), 2 * HOUR), (WINDOWED[2], 2 * HOUR)):
        other = await bench.fresh()
        await other.take(report(limit, 3))
        other.clock.advance(after)
        standing = await other.one(peek(limit, 3))
        assert (standing.passes, standing.before) == (True, 0)
        other.clock.advance(400 * DAY)
        assert (await other.one(charge(limit, 3))).before == 0


CHECKS = (
    newcomers_share_one_counter_when_room_is_out,
    newcomers_of_one_call_share_one_counter_too,
    a_peek_of_a_newcomer_takes_no_place_from_the_others,
    who_crowds_a_counter_of_its_own_leaves_the_shared_one_alone,
    a_live_counter_is_never_evicted,
    registered_counters_need_no_room,
    registered_counters_take_no_room,
    looking_takes_no_room,
    an_invented_refund_takes_no_room,
    what_was_told_once_is_not_told_again_to_the_shared_counter,
    there_is_room_again_when_counters_have_gone,
    room_is_bounded_while_counters_stay_alive,
    leases_of_newcomers_share_one_counter,
    leases_of_newcomers_are_renewed_where_they_are_held,
    a_shared_lease_is_given_back_when_there_is_room_again,
    others_do_not_make_a_counter_forgotten,
    every_counter_vanishes,
)
