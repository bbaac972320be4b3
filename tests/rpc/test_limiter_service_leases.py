"""Leases through LimiterService on each transport: held, renewed, released by their own caller."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.rpc.support.calls import Client, one
from tests.rpc.support.limiter_service import Service, failing

if TYPE_CHECKING:
    from ratelimitd.clock import ManualClock


LEASED = "concurrent"


async def test_a_lease_is_held_until_it_is_released(limiter: Service, clock: ManualClock) -> None:
    """Two at a time and no third; the lease says how long it lasts, and is given back once."""
    first = (await limiter.decide("a", "requests", LEASED)).lease
    await limiter.decide("a", LEASED)
    assert first.id
    assert first.lasts.ToSeconds() == 900
    assert first.expires_at.ToMicroseconds() == clock.now + 900_000_000
    denied = await limiter.decide("a", LEASED)
    assert not denied.decision.allowed
    assert denied.decision.retry_after.seconds == 1
    assert await limiter.release("a", first.id)
    assert not await limiter.release("a", first.id)
    assert (await limiter.decide("a", LEASED)).decision.allowed


async def test_what_is_forged_foreign_or_expired_changes_nothing(
    limiter: Service, clock: ManualClock
) -> None:
    """Only the subject that acquired a lease gives it back or keeps it."""
    held = (await limiter.decide("a", LEASED)).lease.id
    for whose, which in (("b", held), ("a", "forged"), ("a", held + "x")):
        assert not await limiter.release(whose, which)
        assert not (await limiter.renew(whose, which)).renewed
    assert await limiter.used("a", LEASED) == {"concurrent": 1}
    clock.advance(900_000_000)
    assert not await limiter.release("a", held)
    assert not (await limiter.renew("a", held)).renewed


async def test_a_renewal_begins_the_time_anew(limiter: Service, clock: ManualClock) -> None:
    """Held past its first end, and not past its second."""
    held = (await limiter.decide("a", LEASED)).lease.id
    clock.advance(600_000_000)
    renewed = await limiter.renew("a", held)
    assert renewed.renewed
    assert renewed.lease.expires_at.ToMicroseconds() == clock.now + 900_000_000
    clock.advance(899_000_000)
    assert await limiter.used("a", LEASED) == {"concurrent": 1}
    clock.advance(1_000_000)
    assert await limiter.used("a", LEASED) == {"concurrent": 0}


async def test_a_lease_is_named(limiter: Service) -> None:
    """No id, or one that no lease can have, is a mistake."""
    for wrong in ("", "x" * 257):
        assert (await failing(limiter.release("a", wrong))).fields == ("lease_id",)
        assert (await failing(limiter.renew("a", wrong))).fields == ("lease_id",)


async def test_a_lease_that_envoy_acquired_is_the_same(limiter: Service, client: Client) -> None:
    """One set of leases, whoever asked for them."""
    answer = await client.ask(one("api_key=a", "meter=concurrent"))
    held = answer.dynamic_metadata.fields["lease"].string_value
    assert (await limiter.renew("a", held)).renewed
    assert await limiter.release("a", held)
