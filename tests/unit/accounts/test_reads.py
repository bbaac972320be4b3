"""How often a key and an address may look: exactly, and in bounded memory."""

import pytest

from ratelimitd.accounts.reads import PER_ADDRESS, PER_KEY, ReadLimit, network
from ratelimitd.clock import ManualClock
from ratelimitd.model import Subject
from tests.support.ops import NEW_YEAR, S

KEY, OTHER = Subject(b"k" * 16), Subject(b"o" * 16)


async def test_a_key_and_an_address_have_so_many_a_minute() -> None:
    """At once if they like; one more each second, or ten; others' are their own."""
    clock = ManualClock(NEW_YEAR)
    reads = ReadLimit(clock)
    assert [await reads.of_key(KEY) for _ in range(PER_KEY)] == [0] * PER_KEY
    assert await reads.of_key(KEY) == 1
    assert await reads.of_key(OTHER) == 0
    assert [await reads.of_address("192.0.2.1") for _ in range(PER_ADDRESS)] == [0] * PER_ADDRESS
    assert await reads.of_address("192.0.2.1") == 1
    assert await reads.of_address("192.0.2.2") == 0
    clock.advance(S)
    assert [await reads.of_key(KEY) for _ in range(2)] == [0, 1]
    assert [await reads.of_address("192.0.2.1") for _ in range(11)] == [0] * 10 + [1]


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("fe80::1%eth0", "fe80::1%eth1", True),
        ("", "no address", True),
    ],
)
def test_what_one_caller_can_choose_from_is_one_address(one: str, other: str, alike: bool) -> None:
    """A network of /64 belongs to one caller, who could have a new address each time."""
    assert (network(one) == network(other)) is alike


async def test_a_flood_of_addresses_takes_no_more_room() -> None:
    """When all have one, newcomers share one; who counts already is not thrown out."""
    room = 100
    reads = ReadLimit(ManualClock(NEW_YEAR), room)
    for _ in range(PER_ADDRESS):
        assert await reads.of_address("192.0.2.1") == 0
    waits = [await reads.of_address(f"10.0.{n // 250}.{n % 250}") for n in range(20 * room)]
    assert reads._counts.figures()["store_counters"] <= room + 1
    assert waits.count(0) == room - 1 + PER_ADDRESS
    assert await reads.of_address("192.0.2.1") == 1
