"""Charges and peeks of one call: together or not at all, in order, exact."""

from ratelimitd.model import MAX_COUNT, NEVER, Kind, Op
from tests.support.bench import Bench
from tests.support.ops import (
    MINUTELY,
    acquire,
    bucket,
    charge,
    fixed,
    leases,
    peek,
    refund,
    report,
    shadow,
    sliding,
)

WINDOWED = (fixed(3), sliding(3), bucket(3, burst=3))


async def an_unused_counter_reads_as_unused(bench: Bench) -> None:
    """Nothing must be created before it can be asked about."""
    for limit in (*WINDOWED, leases(3)):
        standing = await bench.one(peek(limit))
        assert (standing.passes, standing.before, standing.after) == (True, 0, 0)
        assert standing.limit is limit


async def a_charge_tells_the_state_before_and_after(bench: Bench) -> None:
    """Alerts are a function of both."""
    for limit in WINDOWED:
        seen = [await bench.one(charge(limit, hits)) for hits in (2, 1)]
        assert [(s.passes, s.before, s.after) for s in seen] == [(True, 0, 2), (True, 2, 3)]


async def results_stand_in_the_order_of_the_operations(bench: Bench) -> None:
    """One for each, of its own limit, at one instant."""
    ops = [charge(limit, hits) for hits, limit in enumerate(WINDOWED, 1)]
    taken = await bench.take(*reversed(ops))
    assert [standing.limit for standing in taken.standings] == [*reversed(WINDOWED)]
    assert [standing.after for standing in taken.standings] == [3, 2, 1]
    assert (taken.now, taken.passed) == (bench.clock.now, True)


async def no_operation_is_a_call_that_passes(bench: Bench) -> None:
    """An exempt call takes nothing."""
    taken = await bench.take()
    assert (taken.passed, list(taken.standings)) == (True, [])


async def a_denial_charges_nothing(bench: Bench) -> None:
    """However often it is asked, what was left is left."""
    for limit in WINDOWED:
        await bench.take(charge(limit, 2))
        for _ in range(3):
            standing = await bench.one(charge(limit, 2))
            assert (standing.passes, standing.before, standing.after) == (False, 2, 2)
        assert (await bench.one(charge(limit, 1))).passes


async def a_peek_changes_nothing(bench: Bench) -> None:
    """Neither one that passes nor one that does not."""
    for limit in WINDOWED:
        await bench.take(charge(limit, 1))
        for hits in (1, 2, 3, 2):
            standing = await bench.one(peek(limit, hits))
            assert (standing.passes, standing.before, standing.after) == (hits < 3, 1, 1)
        assert (await bench.one(charge(limit, 2))).after == 3


async def all_or_nothing(bench: Bench) -> None:
    """Where one of a call's charges does not fit, none is charged, wherever it stands."""
    full = fixed(1, MINUTELY)
    others: list[Op] = [*(charge(limit) for limit in WINDOWED), acquire(leases(3), "mine")]
    for place in range(len(others) + 1):
        other = await bench.fresh()
        await other.take(charge(full))
        taken = await other.take(*others[:place], charge(full), *others[place:])
        assert not taken.passed
        passes = [standing.passes for standing in taken.standings]
        assert passes == [index != place for index in range(len(others) + 1)]
        for limit in (*WINDOWED, leases(3)):
            assert (await other.one(peek(limit))).before == 0


async def what_would_have_passed_is_told_as_not_charged(bench: Bench) -> None:
    """In a denied call its state after is its state before, and it is as whole as it was."""
    await bench.take(charge(fixed(1, MINUTELY)))
    for limit in WINDOWED:
        await bench.take(charge(limit))
        bare = await bench.one(peek(limit))
        taken = await bench.take(charge(limit), charge(fixed(1, MINUTELY)))
        standing = taken.standings[0]
        assert (standing.passes, standing.before, standing.after) == (True, 1, 1)
        assert (standing.retry_at, standing.reset_at) == (bench.clock.now, bare.reset_at)


async def a_peek_and_an_acquisition_decide_with_the_charges(bench: Bench) -> None:
    """Whichever of them does not pass, none of the call is charged."""
    await bench.take(charge(fixed(1, MINUTELY)), acquire(leases(1), "theirs"))
    for denying in (peek(fixed(1, MINUTELY)), acquire(leases(1), "mine")):
        assert not await bench.passes(charge(fixed(3)), denying)
        assert (await bench.one(peek(fixed(3)))).before == 0


async def charges_on_one_counter_add_up(bench: Bench) -> None:
    """`prior` is what the call asked before: both fit together, or none is charged."""
    for limit in WINDOWED:
        taken = await bench.take(charge(limit, 2), charge(limit, 2, prior=2))
        assert [standing.passes for standing in taken.standings] == [True, False]
        assert not taken.passed
        assert (await bench.one(peek(limit))).before == 0
        taken = await bench.take(charge(limit, 2), charge(limit, 1, prior=2))
        assert [standing.after for standing in taken.standings] == [2, 3]
        assert (await bench.one(peek(limit))).before == 3


async def charges_of_one_call_that_can_never_fit_never_will(bench: Bench) -> None:
    """2 and 2 of 3: each fits, both never do."""
    for limit in WINDOWED:
        taken = await bench.take(charge(limit, 2), charge(limit, 2, prior=2))
        assert taken.standings[1].retry_at == NEVER


async def counters_of_other_callers_and_limits_are_apart(bench: Bench) -> None:
    """Key and family tell counters apart; nothing else does."""
    for limit in (*WINDOWED, fixed(3, MINUTELY)):
        assert (await bench.one(charge(limit, 3, who="a"))).passes
        assert (await bench.one(charge(limit, 3, who="b"))).passes
        assert not (await bench.one(charge(limit, 1, who="a"))).passes


async def another_amount_keeps_what_was_used(bench: Bench) -> None:
    """An upgrade is another limit on the same counter, a downgrade too."""
    for small, large in ((fixed(3), fixed(9)), (sliding(3), sliding(9))):
        await bench.take(charge(small, 3))
        standing = await bench.one(charge(large, 2))
        assert (standing.before, standing.after, standing.remaining) == (3, 5, 4)
        assert (await bench.one(peek(small))).remaining == 0
    await bench.take(charge(bucket(3, burst=3), 3))
    assert (await bench.one(charge(bucket(9, burst=9), 2))).remaining == 4


async def a_shadow_limit_never_denies(bench: Bench) -> None:
    """It counts what fits with the others, and what does not fit passes uncounted."""
    watched, bound = shadow(fixed(2, MINUTELY)), fixed(9)
    for asked in (2, 3):
        taken = await bench.take(charge(watched), charge(bound))
        assert taken.passed
        assert taken.standings[1].after == asked - 1
    taken = await bench.take(charge(watched), charge(bound))
    assert (taken.passed, taken.standings[0].passes) == (True, False)
    assert (taken.standings[0].after, taken.standings[1].after) == (2, 3)


async def a_denied_call_charges_no_shadow_limit(bench: Bench) -> None:
    """What did not happen is not watched either."""
    watched, full = shadow(fixed(9, MINUTELY)), fixed(0)
    taken = await bench.take(charge(watched), charge(full))
    assert (taken.passed, taken.standings[0].after) == (False, 0)
    assert (await bench.one(peek(watched))).before == 0


async def counts_saturate(bench: Bench) -> None:
    """At 2^53 - 1, from where a refund still counts."""
    limit = fixed(MAX_COUNT)
    for _ in range(2):
        standing = await bench.one(report(limit, MAX_COUNT))
        assert standing.after == MAX_COUNT
    assert (await bench.one(report(limit, 1))).after == MAX_COUNT
    assert not (await bench.one(charge(limit, 1))).passes
    assert (await bench.one(refund(limit, 10))).after == MAX_COUNT - 10
    assert (await bench.one(charge(limit, 10))).after == MAX_COUNT


async def absurd_hits_are_a_denial_or_saturate(bench: Bench) -> None:
    """The wire's hits have 64 bits; whatever they are, a decision comes out."""
    for limit in WINDOWED:
        for kind in (Kind.CHARGE, Kind.PEEK):
            standing = await bench.one(charge(limit, 2**64 - 1)._replace(kind=kind))
            assert (standing.passes, standing.retry_at) == (False, NEVER)
        standing = await bench.one(report(limit, 2**64 - 1))
        assert standing.remaining == 0
        assert standing.after <= MAX_COUNT
        assert (await bench.one(refund(limit, 2**64 - 1))).after == 0


async def an_amount_of_nothing_denies_everything(bench: Bench) -> None:
    """For good: no wait helps."""
    for limit in (fixed(0), sliding(0), leases(0)):
        standing = await bench.one(peek(limit))
        assert (standing.passes, standing.retry_at, standing.remaining) == (False, NEVER, 0)


CHECKS = (
    an_unused_counter_reads_as_unused,
    a_charge_tells_the_state_before_and_after,
    results_stand_in_the_order_of_the_operations,
    no_operation_is_a_call_that_passes,
    a_denial_charges_nothing,
    a_peek_changes_nothing,
    all_or_nothing,
    what_would_have_passed_is_told_as_not_charged,
    a_peek_and_an_acquisition_decide_with_the_charges,
    charges_on_one_counter_add_up,
    charges_of_one_call_that_can_never_fit_never_will,
    counters_of_other_callers_and_limits_are_apart,
    another_amount_keeps_what_was_used,
    a_shadow_limit_never_denies,
    a_denied_call_charges_no_shadow_limit,
    counts_saturate,
    absurd_hits_are_a_denial_or_saturate,
    an_amount_of_nothing_denies_everything,
)
