"""What stands in for the store while it is away: it goes on from what was last known."""

import pytest

from ratelimitd.clock import ManualClock
from ratelimitd.model import Kind, Limit, Op, Standing
from ratelimitd.stores.memory.counters import MemoryCounters
from ratelimitd.stores.ports import Taken
from ratelimitd.stores.standby import Standby
from tests.support.ops import (
    CONCURRENT,
    HOUR,
    HOURLY,
    MINUTE,
    NEW_YEAR,
    SECONDLY,
    S,
    acquire,
    bucket,
    charge,
    fixed,
    leases,
    peek,
    refund,
    release,
    renew,
    sliding,
)
from tests.support.stores import at_once

LIMITS = (fixed(10), sliding(10), bucket(10, HOURLY, burst=10))
NAMES = ("fixed", "sliding", "bucket")
START = NEW_YEAR + 30 * MINUTE


class Deputy:
    """A store, what was last known of it, and what stands in for it."""

    def __init__(self, room: int = 100) -> None:
        self.clock = ManualClock(START)
        self.store = MemoryCounters(self.clock)
        self.known: Taken | None = None
        self.standby = Standby(self.clock, "mark", room)

    def learn(self, *ops: Op) -> None:
        """Do operations in the store, and remember how their counters then stand."""
        at_once(self.store.take(ops))
        peeks = [op._replace(kind=Kind.PEEK) for op in ops]
        self.known = at_once(self.store.take(peeks))

    def take(self, *ops: Op) -> Taken:
        """Do operations in what stands in."""
        self.standby.seed(ops, self.known)
        return at_once(self.standby.take(ops))

    def used(self, limit: Limit) -> int:
        """Return what is used there."""
        return self.take(peek(limit)).standings[0].before


@pytest.mark.parametrize("limit", LIMITS, ids=NAMES)
def test_it_goes_on_from_what_was_last_known(limit: Limit) -> None:
    """A caller who had used seven of ten gets three more, as from the store."""
    deputy = Deputy()
    deputy.learn(charge(limit, 7))
    assert deputy.take(charge(limit, 3)).passed
    assert not deputy.take(charge(limit)).passed
    assert deputy.used(limit) == 10, "seeded once, not with each call"


@pytest.mark.parametrize("limit", LIMITS, ids=NAMES)
def test_a_process_that_knows_nothing_begins_at_nothing(limit: Limit) -> None:
    """The bound: one amount per process."""
    deputy = Deputy()
    assert deputy.take(charge(limit, 10)).passed
    assert not deputy.take(charge(limit)).passed


@pytest.mark.parametrize("limit", LIMITS, ids=NAMES)
@pytest.mark.parametrize("later", [1, 7 * MINUTE, 30 * MINUTE - 1, 30 * MINUTE, HOUR, 2 * HOUR])
def test_what_is_known_ages_as_the_store_would_have_it(limit: Limit, later: int) -> None:
    """Seeded late, the count is the store's own of that moment, to the hit (never less)."""
    deputy = Deputy()
    deputy.learn(charge(limit, 7))
    deputy.clock.advance(later)
    theirs = at_once(deputy.store.take([peek(limit)])).standings[0].before
    assert theirs <= deputy.used(limit) <= theirs + (limit.burst > 0)


def test_a_sliding_window_is_not_forgotten_at_its_turn() -> None:
    """In the next window the last one still weighs."""
    deputy = Deputy()
    deputy.learn(charge(LIMITS[1], 10))
    deputy.clock.advance(45 * MINUTE)  # a quarter into the next window
    assert deputy.used(LIMITS[1]) == 8


def test_a_refund_is_not_undone_by_the_next_call() -> None:
    """What is known is taken in once; what happens here counts from then on."""
    deputy = Deputy()
    deputy.learn(charge(LIMITS[0], 7))
    deputy.take(refund(LIMITS[0], 5))
    assert deputy.used(LIMITS[0]) == 2


def test_news_raise_what_is_counted_here() -> None:
    """A store that answers now and then tells of what others used meanwhile."""
    deputy = Deputy()
    deputy.learn(charge(LIMITS[0], 2))
    deputy.take(charge(LIMITS[0], 3))
    earlier = deputy.known
    deputy.clock.advance(1)
    deputy.learn(charge(LIMITS[0], 6))
    assert deputy.used(LIMITS[0]) == 8
    deputy.take(refund(LIMITS[0], 7))
    deputy.known = earlier
    assert deputy.used(LIMITS[0]) == 1, "what another call saw earlier is no news"


def test_counts_are_forgotten_when_the_store_is_back() -> None:
    """The next outage begins with what is then known; nothing is merged."""
    deputy = Deputy()
    for limit in LIMITS:
        deputy.take(charge(limit, 9))
    deputy.standby.forget()
    assert deputy.standby.states == 0
    assert [deputy.used(limit) for limit in LIMITS] == [0, 0, 0]


def test_leases_of_the_store_hold_their_places() -> None:
    """Two of three are held: one more is granted here, and a release of one frees one."""
    deputy, limit = Deputy(), leases(3)
    deputy.known = _known(deputy, limit, 2)
    assert deputy.take(acquire(limit, "local.mark.1")).passed
    assert not deputy.take(acquire(limit, "local.mark.2")).passed
    for _ in range(3):
        deputy.take(release(limit, "a"))
    assert deputy.used(limit) == 2, "once, however often it comes"
    deputy.take(release(limit, "local.other.7"))
    assert deputy.used(limit) == 2, "another process granted it, and not from these places"


def _known(deputy: Deputy, limit: Limit, held: int) -> Taken:
    now = deputy.clock.now
    standing = Standing(limit, True, held, held, now, now + CONCURRENT.lease_us)
    return Taken(now, True, [standing])


def test_leases_of_the_store_are_taken_for_renewed() -> None:
    """The store is told later; not so one that was given back, or an id of ours that is made up."""
    deputy, limit = Deputy(), leases(3)
    for name in "ab":
        deputy.learn(acquire(limit, name))
    assert deputy.take(renew(limit, "a")).standings[0].passes
    deputy.take(release(limit, "a"))
    granted = acquire(limit, "local.mark.1")
    assert deputy.take(granted).passed
    for name, kept in (("a", False), ("b", True), ("local.mark.1", True), ("local.x.1", False)):
        assert deputy.take(renew(limit, name)).standings[0].passes is kept
    assert deputy.used(limit) == 2


def test_places_held_for_the_store_end_with_the_lease_time() -> None:
    """A lease whose release never comes does not hold its place for ever here either."""
    deputy, limit = Deputy(), leases(2)
    deputy.known = _known(deputy, limit, 2)
    assert deputy.used(limit) == 2
    deputy.clock.advance(CONCURRENT.lease_us)
    assert deputy.used(limit) == 0


def test_more_are_held_than_the_limit_now_allows() -> None:
    """An amount that was lowered: each release frees one, until there is room."""
    deputy, limit = Deputy(), leases(1)
    deputy.known = _known(deputy, limit, 3)
    for name in ("a", "b"):
        deputy.take(release(limit, name))
        assert not deputy.take(acquire(limit, "local.mark.1")).passed
    deputy.take(release(limit, "c"))
    assert deputy.take(acquire(limit, "local.mark.1")).passed


def test_leases_granted_here_are_given_back_here_though_the_store_is_back() -> None:
    """They stay held past `forget`, beside what the store then holds, and are released once."""
    deputy, limit = Deputy(), leases(3)
    deputy.known = _known(deputy, limit, 1)
    deputy.take(acquire(limit, "local.mark.1"))
    deputy.standby.forget()
    deputy.known = None
    assert deputy.used(limit) == 1, "the placeholder went, the lease is still held"
    deputy.known = _known(deputy, limit, 2)
    assert deputy.used(limit) == 3
    for _ in range(2):
        deputy.standby.release([release(limit, "local.mark.1")])
    assert deputy.used(limit) == 2


def test_newcomers_that_share_a_counter_hold_their_places_apart() -> None:
    """Placeholders of two counters do not fall together where both have no room of their own."""
    deputy, limit = Deputy(room=1), leases(5)
    deputy.take(acquire(limit, "local.mark.0", who="first", bounded=True))
    deputy.known = _known(deputy, limit, 2)
    for who in ("a", "b"):
        deputy.take(peek(limit, who=who, bounded=True))
    deputy.known = None
    assert deputy.take(peek(limit, who="c", bounded=True)).standings[0].before == 4


def test_a_flood_of_invented_callers_has_a_bound() -> None:
    """Ten thousand newcomers in an outage share what one process has room for."""
    deputy, known = Deputy(room=50), fixed(5)
    limits = (known, bucket(5, SECONDLY, burst=5), leases(5))
    for number in range(10_000):
        name = f"new-{number}"
        deputy.take(
            *(charge(limit, who=name, bounded=True) for limit in limits[:2]),
            acquire(limits[2], f"local.mark.{number}", who=name, bounded=True),
        )
    assert deputy.standby.states <= 3 * 51
    deputy.clock.advance(S)
    assert deputy.standby.states <= 3 * 51
