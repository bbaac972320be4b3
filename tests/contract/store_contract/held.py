"""Leases: held from acquisition to release, or to their expiry."""

from dataclasses import replace

from ratelimitd.model import Kind, Limit, Meter, MeterKind
from tests.support.bench import Bench
from tests.support.ops import (
    MINUTE,
    MINUTELY,
    SECONDLY,
    TOKENS,
    acquire,
    bucket,
    charge,
    fixed,
    leases,
    peek,
    release,
    renew,
    report,
    shadow,
    sliding,
)

LEASE_US = 15 * MINUTE
WATCHED = Meter(name="watched", kind=MeterKind.LEASE, lease_us=LEASE_US)


async def a_lease_is_held_until_it_is_given_back(bench: Bench) -> None:
    """Others wait for it, and have it then."""
    limit = leases(1)
    assert await bench.passes(acquire(limit, "a"))
    assert not await bench.passes(acquire(limit, "b"))
    assert not await bench.passes(peek(limit))
    await bench.take(release(limit, "a"))
    assert await bench.passes(acquire(limit, "b"))


async def a_lease_is_given_back_once(bench: Bench) -> None:
    """However often its release comes, nobody else's lease is given back with it."""
    limit = leases(2)
    await bench.take(acquire(limit, "a"))
    await bench.take(acquire(limit, "b"))
    seen = [await bench.one(release(limit, "a")) for _ in range(3)]
    assert [(s.passes, s.before, s.after) for s in seen] == [
        (True, 2, 1),
        (True, 1, 1),
        (True, 1, 1),
    ]


async def an_unknown_lease_gives_nothing_back(bench: Bench) -> None:
    """Also on a counter that holds none."""
    limit = leases(1)
    assert (await bench.one(release(limit, "a"))).after == 0
    await bench.take(acquire(limit, "a"))
    await bench.take(release(limit, "b"), release(limit, "a", who="other"))
    assert not await bench.passes(acquire(limit, "b"))


async def a_lease_expires_exactly_at_its_end(bench: Bench) -> None:
    """One microsecond before, it is held."""
    limit = leases(1)
    await bench.take(acquire(limit, "a"))
    await ends_a_lifetime_from_now(bench, limit)


async def ends_a_lifetime_from_now(bench: Bench, limit: Limit) -> None:
    """The only lease of a limit begins its time at this very microsecond."""
    bench.clock.advance(LEASE_US - 1)
    assert not await bench.passes(acquire(limit, "b"))
    bench.clock.advance(1)
    assert await bench.passes(acquire(limit, "b"))


async def each_lease_has_its_own_end(bench: Bench) -> None:
    """The younger is held when the older expires, and an expired one takes no other along."""
    limit = leases(2)
    await bench.take(acquire(limit, "old"))
    bench.clock.advance(LEASE_US // 2)
    await bench.take(acquire(limit, "young"))
    bench.clock.advance(LEASE_US // 2)
    standing = await bench.one(release(limit, "old"))
    assert (standing.before, standing.after) == (1, 1)
    assert standing.reset_at == bench.clock.now + LEASE_US // 2


async def a_denied_call_holds_nothing(bench: Bench) -> None:
    """Nothing would give it back."""
    limit = leases(1)
    assert not await bench.passes(acquire(limit, "a"), charge(fixed(0)))
    assert await bench.passes(acquire(limit, "b"))


async def leases_of_one_call_are_given_back_by_one_id_each(bench: Bench) -> None:
    """One id holds a unit of each of the call's counters; each is released for itself."""
    other = Meter(name="slots", kind=MeterKind.LEASE, lease_us=MINUTE)
    limits = (leases(1), leases(1, other))
    assert await bench.passes(*(acquire(limit, "x") for limit in limits))
    await bench.take(release(limits[0], "x"))
    assert await bench.passes(acquire(limits[0], "y"))
    assert not await bench.passes(acquire(limits[1], "y"))


async def one_id_holds_one_unit_of_a_counter(bench: Bench) -> None:
    """Two acquisitions of a call on one counter are the same lease."""
    limit = leases(2)
    taken = await bench.take(acquire(limit, "x"), acquire(limit, "x"))
    assert [(s.before, s.after) for s in taken.standings] == [(0, 1), (0, 1)]
    assert (await bench.one(peek(limit))).before == 1


async def the_meter_says_how_long_a_lease_lives(bench: Bench) -> None:
    """Each meter has a time of its own."""
    short = leases(1, Meter(name="short", kind=MeterKind.LEASE, lease_us=1))
    await bench.take(acquire(short, "a"), acquire(leases(1), "a"))
    bench.clock.advance(1)
    assert await bench.passes(acquire(short, "b"))
    assert not await bench.passes(acquire(leases(1), "b"))


async def a_release_tells_whether_it_gave_anything_back(bench: Bench) -> None:
    """Before and after differ where it did, and nowhere else."""
    limit = leases(3)
    await bench.take(acquire(limit, "a"), acquire(limit, "b"))
    for name, gives in (("a", True), ("a", False), ("none", False), ("b", True)):
        standing = await bench.one(release(limit, name))
        assert (standing.passes, standing.before != standing.after) == (True, gives)
    await bench.take(acquire(limit, "c"))
    bench.clock.advance(LEASE_US)
    standing = await bench.one(release(limit, "c"))
    assert (standing.before, standing.after) == (0, 0)


async def a_renewed_lease_lives_anew(bench: Bench) -> None:
    """For its whole time from then on, to the microsecond."""
    limit = leases(1)
    await bench.take(acquire(limit, "a"))
    for _ in range(3):
        bench.clock.advance(LEASE_US - 1)
        standing = await bench.one(renew(limit, "a"))
        assert (standing.passes, standing.before, standing.after) == (True, 1, 1)
        assert (standing.retry_at, standing.reset_at) == (
            bench.clock.now,
            bench.clock.now + LEASE_US,
        )
    await ends_a_lifetime_from_now(bench, limit)


async def what_is_not_held_is_not_renewed(bench: Bench) -> None:
    """Neither an id that was made up, nor one that was released, has ended, or is another's."""
    limit = leases(2)
    await bench.take(acquire(limit, "released"), acquire(limit, "ends"))
    await bench.take(release(limit, "released"))
    await bench.take(acquire(limit, "another's", who="another"))
    for name in ("made up", "released", "another's"):
        standing = await bench.one(renew(limit, name))
        assert (standing.passes, standing.before, standing.after) == (False, 1, 1)
    bench.clock.advance(LEASE_US)
    standing = await bench.one(renew(limit, "ends"))
    assert (standing.passes, standing.before, standing.after) == (False, 0, 0)
    assert standing.reset_at == bench.clock.now
    assert (await bench.one(peek(limit))).before == 0


async def a_renewal_passes_no_verdict(bench: Bench) -> None:
    """Whether a lease is held is told, and keeps nothing of the call from passing."""
    limit = leases(1)
    taken = await bench.take(renew(limit, "made up"), charge(fixed(1)))
    assert (taken.passed, taken.standings[0].passes) == (True, False)
    await bench.take(acquire(limit, "a"))
    bench.clock.advance(LEASE_US - 1)
    taken = await bench.take(charge(fixed(0)), renew(limit, "a"))
    assert (taken.passed, taken.standings[1].passes) == (False, True)
    bench.clock.advance(1)
    assert (await bench.one(peek(limit))).before == 1


async def a_renewed_lease_is_given_back_as_any_other(bench: Bench) -> None:
    """Once, by its id; those that were granted later are not given back with it."""
    limit = leases(2)
    await bench.take(acquire(limit, "a"))
    await bench.take(acquire(limit, "b"))
    taken = await bench.take(renew(limit, "a"), release(limit, "a"), renew(limit, "a"))
    assert [(s.passes, s.before, s.after) for s in taken.standings] == [
        (True, 2, 2),
        (True, 2, 1),
        (False, 1, 1),
    ]
    assert (await bench.one(renew(limit, "b"))).passes


async def the_last_of_those_held_says_when_all_are_free(bench: Bench) -> None:
    """Whatever was renewed or released in between."""
    limit = leases(9)
    for name in "abc":
        await bench.take(acquire(limit, name))
        bench.clock.advance(MINUTE)
    now = bench.clock.now
    assert (await bench.one(peek(limit))).reset_at == now - MINUTE + LEASE_US
    assert (await bench.one(renew(limit, "a"))).reset_at == now + LEASE_US
    assert (await bench.one(release(limit, "a"))).reset_at == now - MINUTE + LEASE_US
    assert (await bench.one(release(limit, "c"))).reset_at == now - 2 * MINUTE + LEASE_US
    assert (await bench.one(release(limit, "b"))).reset_at == now


async def a_lease_keeps_its_time_when_the_policy_changes(bench: Bench) -> None:
    """Those that were granted before keep theirs, until they are renewed under the new one."""
    long = leases(9)
    short = leases(9, replace(long.meter, lease_us=MINUTE))
    await bench.take(acquire(long, "old"), acquire(long, "renewed"))
    await bench.take(acquire(short, "new"))
    assert (await bench.one(renew(short, "renewed"))).passes
    assert (await bench.one(peek(short))).before == 3
    bench.clock.advance(MINUTE - 1)
    assert (await bench.one(peek(short))).before == 3
    bench.clock.advance(1)
    assert (await bench.one(peek(short))).before == 1
    assert (await bench.one(acquire(long, "longer"))).reset_at == bench.clock.now + LEASE_US
    bench.clock.advance(LEASE_US - MINUTE)
    assert (await bench.one(peek(long))).before == 1
    assert not (await bench.one(renew(long, "old"))).passes


async def whatever_denies_a_call_it_holds_and_charges_nothing(bench: Bench) -> None:
    """Charges, leases and peeks, watched ones too, before and behind what denies."""
    hour, room = fixed(3), leases(3)
    slots = leases(1, Meter(name="slots", kind=MeterKind.LEASE, lease_us=MINUTE))
    asked = [
        charge(hour),
        charge(sliding(3), 2),
        acquire(room, "x"),
        charge(bucket(3, burst=3)),
        peek(fixed(5, MINUTELY, TOKENS)),
        acquire(shadow(leases(2, WATCHED)), "x"),
        charge(shadow(replace(hour, name="watched", when=(("route", "a"),)))),
    ]
    await bench.take(acquire(slots, "taken"), report(fixed(1, SECONDLY, TOKENS), 1))
    denying = (
        charge(fixed(1, SECONDLY), 2),
        peek(fixed(1, SECONDLY, TOKENS)),
        acquire(slots, "x"),
        peek(slots),
    )
    for denies in denying:
        for place in range(len(asked) + 1):
            taken = await bench.take(*asked[:place], denies, *asked[place:])
            assert (taken.passed, taken.standings[place].passes) == (False, False)
            others = [*taken.standings[:place], *taken.standings[place + 1 :]]
            assert {(each.passes, each.before, each.after) for each in others} == {(True, 0, 0)}
    taken = await bench.take(*asked)
    assert [(each.before, each.after) for each in taken.standings] == [
        (0, 0 if op.kind == Kind.PEEK else op.hits) for op in asked
    ]


async def a_watched_lease_is_held_where_it_fits(bench: Bench) -> None:
    """Beyond its amount it is not, denies nothing, and keeps no other from being held."""
    watched, limit = shadow(leases(1, WATCHED)), leases(2)
    for name, fits in (("a", True), ("b", False)):
        taken = await bench.take(acquire(watched, name), acquire(limit, name))
        assert (taken.passed, taken.standings[0].passes) == (True, fits)
    assert not await bench.passes(acquire(watched, "c"), acquire(limit, "c"))
    looks = await bench.take(peek(watched), peek(limit))
    assert [each.before for each in looks.standings] == [1, 2]


CHECKS = (
    a_lease_is_held_until_it_is_given_back,
    a_lease_is_given_back_once,
    an_unknown_lease_gives_nothing_back,
    a_lease_expires_exactly_at_its_end,
    each_lease_has_its_own_end,
    a_denied_call_holds_nothing,
    leases_of_one_call_are_given_back_by_one_id_each,
    one_id_holds_one_unit_of_a_counter,
    the_meter_says_how_long_a_lease_lives,
    a_release_tells_whether_it_gave_anything_back,
    a_renewed_lease_lives_anew,
    what_is_not_held_is_not_renewed,
    a_renewal_passes_no_verdict,
    a_renewed_lease_is_given_back_as_any_other,
    the_last_of_those_held_says_when_all_are_free,
    a_lease_keeps_its_time_when_the_policy_changes,
    whatever_denies_a_call_it_holds_and_charges_nothing,
    a_watched_lease_is_held_where_it_fits,
)
