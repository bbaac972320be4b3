"""What is told of the leases that a counter holds."""

from dataclasses import replace

from tests.contract.store_contract.held import LEASE_US
from tests.support.bench import Bench
from tests.support.ops import MINUTE, acquire, counter, leases, peek, release


async def a_counter_tells_what_it_holds(bench: Bench) -> None:
    """How many, and those that end next; what is told changes nothing of it."""
    long = leases(9)
    short = leases(9, replace(long.meter, lease_us=MINUTE))
    assert await bench.counters.held(counter(long), 5) == (0, [])
    started = bench.clock.now
    await bench.take(acquire(long, "long"))
    for name in "ab":
        bench.clock.advance(1)
        await bench.take(acquire(short, name), acquire(long, "another's", who="another"))
    for most, names in ((0, []), (2, ["a", "b"]), (9, ["a", "b", "long"])):
        told = await bench.counters.held(counter(long), most)
        assert (told.held, [each.lease for each in told.leases]) == (3, names)
    ends = [started + 1 + MINUTE, started + 2 + MINUTE, started + LEASE_US]
    assert [each.ends for each in told.leases] == ends
    assert (await bench.one(peek(long))).before == 3
    bench.clock.advance(MINUTE - 2)
    assert (await bench.counters.held(counter(long), 9)).held == 3
    bench.clock.advance(1)  # at its end the first is no longer held
    told = await bench.counters.held(counter(long), 9)
    assert (told.held, [each.lease for each in told.leases]) == (2, ["b", "long"])
    await bench.take(release(long, "long"))
    assert [each.lease for each in (await bench.counters.held(counter(long), 9)).leases] == ["b"]


async def a_crowd_that_is_held_is_told_in_part(bench: Bench) -> None:
    """Of many leases as many are told as were asked for, and how many there are."""
    limit = leases(1_000)
    for first in range(0, 200, 50):
        await bench.take(*(acquire(limit, f"{n}") for n in range(first, first + 50)))
        bench.clock.advance(1)
    told = await bench.counters.held(counter(limit), 3)
    assert (told.held, len(told.leases)) == (200, 3)
    assert {int(each.lease) // 50 for each in told.leases} == {0}


async def a_shared_counter_tells_nobodys_leases(bench: Bench) -> None:
    """What newcomers hold together is not told of one of them; a counter of one's own is."""
    bench = await bench.fresh(room=1)
    limit = leases(9)
    await bench.take(acquire(limit, "a", who="first", bounded=True))
    await bench.take(acquire(limit, "b", who="second", bounded=True))
    for who, names in (("first", ["a"]), ("second", [])):
        told = await bench.counters.held(counter(limit, who, bounded=True), 9)
        assert (told.held, [each.lease for each in told.leases]) == (len(names), names)


async def a_calls_lease_is_of_those_that_name_none(bench: Bench) -> None:
    """The same operations come again with another; whoever names one keeps it."""
    limit = leases(9)
    ops = (acquire(limit, "", who="a"), acquire(limit, "", who="b"))
    mixed = (acquire(limit, "own", who="a"), acquire(limit, "", who="b"))
    for asked, lease in ((ops, "1"), (ops, "2"), (mixed, "3"), (mixed[:1], "4")):
        assert (await bench.counters.take(asked, lease=lease)).passed
    for who, names in (("a", ["1", "2", "own"]), ("b", ["1", "2", "3"])):
        told = await bench.counters.held(counter(limit, who), 9)
        assert sorted(each.lease for each in told.leases) == names


CHECKS = (
    a_calls_lease_is_of_those_that_name_none,
    a_counter_tells_what_it_holds,
    a_crowd_that_is_held_is_told_in_part,
    a_shared_counter_tells_nobodys_leases,
)
