"""Leases: held from acquisition to release, or to their expiry."""

from ratelimitd.model import Meter, MeterKind
from tests.support.bench import Bench
from tests.support.ops import MINUTE, acquire, charge, fixed, leases, peek, release

LEASE_US = 15 * MINUTE


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
)
