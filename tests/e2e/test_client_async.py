"""The client for asyncio against a real limiter: what it has beyond the one for threads.

Cancellation, at every point: a lease that nobody holds any more is given back.
"""

from __future__ import annotations

import asyncio

import pytest

from ratelimitd.client import (
    Ask,
    AsyncLimiter,
    Backoff,
    DeniedError,
    InvalidCallError,
    LimiterAwayError,
    ReservationExpiredError,
)
from tests.e2e.support.client_limiter import (
    DOMAIN,
    LEASE,
    PATIENCE,
    aused,
    comes_to,
    nowhere,
)
from tests.e2e.support.waiting import wait_until


async def test_it_decides_as_the_other_one(limiter: AsyncLimiter, key: str) -> None:
    """The same values, awaited."""
    allowed = await limiter.decide(key, Ask("requests", 5))
    assert (allowed.allowed, allowed.limits[0].remaining) == (True, 0)
    assert (await limiter.decide(key)).reason == "over_limit"
    with pytest.raises(InvalidCallError):
        await limiter.decide(key, "tokenz")


async def test_a_context_holds_a_lease(limiter: AsyncLimiter, key: str) -> None:
    """Two and no third; free after the end, also after an exception."""

    async def hold() -> None:
        async with limiter.lease(key), limiter.lease(key):
            with pytest.raises(DeniedError):
                async with limiter.lease(key):
                    pass
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await hold()
    assert await aused(limiter, key, "concurrent") == 0


async def test_a_cancelled_holder_gives_its_lease_back(limiter: AsyncLimiter, key: str) -> None:
    """Though its task is cancelled, and cancelled again while it releases."""
    held = asyncio.Event()

    async def hold() -> None:
        async with limiter.lease(key):
            held.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(hold())
    await held.wait()
    assert await aused(limiter, key, "concurrent") == 1
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait((task,))
    assert task.cancelled()
    await comes_to(limiter, key, "concurrent", 0)


async def test_who_is_cancelled_while_asking_holds_nothing(limiter: AsyncLimiter, key: str) -> None:
    """At whichever moment: before the question leaves, while it is decided, as the answer comes."""
    for turns in range(40):
        task = asyncio.ensure_future(limiter.lease(key).acquire())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        (done,), _ = await asyncio.wait((task,))
        if not done.cancelled() and done.result().lease is not None:
            lost = limiter.lease(key)
            lost.id = done.result().lease.id  # it was answered in time, and is the caller's
            await lost.release()
    await comes_to(limiter, key, "concurrent", 0)


async def test_a_lease_is_renewed_and_a_lost_one_says_so(limiter: AsyncLimiter, key: str) -> None:
    """Held past its own end; what somebody else released is found out."""
    async with limiter.lease(key, "brief") as kept, limiter.lease(key, "brief") as robbed:
        twin = limiter.lease(key, "brief")
        twin.id = robbed.id
        assert await twin.release()
        await wait_until(lambda: robbed.lost, description="it is told", within=LEASE * 5)
        await asyncio.sleep(LEASE * 0.7)
        assert await aused(limiter, key, "brief") == 1
        assert not kept.lost
    assert await aused(limiter, key, "brief") == 0


async def test_estimates_are_settled(limiter: AsyncLimiter, key: str) -> None:
    """As with the other client; also what is too late."""
    async with limiter.reserve(key, Ask("tokens", 80), Ask("images", 2)) as estimate:
        assert (await estimate.settle(tokens=30, images=3)).settled
        assert not (await estimate.settle(tokens=31)).settled
    assert await aused(limiter, key, "tokens") == 30
    assert await aused(limiter, key, "images") == 3
    async with limiter.reserve(key, Ask("images", 4)) as late:
        await comes_to(limiter, key, "images", 3)
        with pytest.raises(ReservationExpiredError):
            await late.settle(images=1)


async def test_many_wait_for_two_places(limiter: AsyncLimiter, key: str) -> None:
    """Never more than two inside, and each gets in: the back-off obeys and is patient."""
    inside, most, done = 0, 0, 0

    async def work() -> None:
        nonlocal inside, most, done
        held = limiter.lease(key)
        decision = await Backoff(attempts=60, within=120).arun(held.acquire)
        assert decision.allowed
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0.05)
        inside -= 1
        done += 1
        await held.release()

    await asyncio.gather(*(work() for _ in range(6)))
    assert (most, done) == (2, 6)


async def test_closing_waits_for_releases(address: str, key: str) -> None:
    """What was to be given back is, before the channel is closed."""
    async with AsyncLimiter(address, domain=DOMAIN, deadline=PATIENCE) as limiter:
        held = limiter.lease(key)
        await held.acquire()
        limiter.detach(held.release())
    async with AsyncLimiter(address, domain=DOMAIN, deadline=PATIENCE) as limiter:
        assert await aused(limiter, key, "concurrent") == 0


async def test_away_is_away() -> None:
    """Nobody listens: as chosen, within the deadline."""
    async with AsyncLimiter(nowhere(), domain=DOMAIN, when_away="allow") as limiter:
        assert (await limiter.decide("k")).away
        async with limiter.lease("k") as held, limiter.reserve("k", Ask("tokens", 1)) as estimate:
            assert not held.id
            assert not (await estimate.settle(tokens=1)).settled
    async with AsyncLimiter(nowhere(), domain=DOMAIN) as limiter:
        with pytest.raises(LimiterAwayError):
            await limiter.decide("k")
