"""The invariants of values: each has a test that it raises."""

from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from ratelimitd.model import (
    MAX_COUNT,
    Algorithm,
    Descriptor,
    Limit,
    Meter,
    MeterKind,
    Standing,
    Unit,
    Window,
)
from tests.support.ops import (
    CONCURRENT,
    DAY,
    HOUR,
    MONTHLY,
    REQUESTS,
    S,
    bucket,
    fixed,
    leases,
    sliding,
)


def limit(changes: dict[str, Any]) -> Limit:
    """Return a plain limit with some fields changed."""
    return replace(fixed(1), **changes)


def test_a_descriptor_shows_none_of_its_values() -> None:
    """They may be API keys, and a traceback or a log line shows a descriptor so."""
    descriptor = Descriptor(entries=(("api_key", "sk-live-4f9a"),), hits=3)
    assert repr(descriptor) == "Descriptor(hits=3, negative=False, override=None)"


def test_a_meter_has_a_name() -> None:
    """A policy could not speak of it otherwise."""
    with pytest.raises(ValueError, match="a meter needs a name"):
        Meter(name="", kind=MeterKind.PREPAID)


@pytest.mark.parametrize(
    ("kind", "lease_us"),
    [
        (MeterKind.LEASE, 0),
        (MeterKind.LEASE, -1),
        (MeterKind.PREPAID, 1),
        (MeterKind.POSTPAID, 1),
    ],
)
def test_lease_meters_and_only_they_have_a_lease_time(kind: MeterKind, lease_us: int) -> None:
    """A lease without an end would never be given back by itself."""
    with pytest.raises(ValueError, match="have a positive lease time"):
        Meter(name="m", kind=kind, lease_us=lease_us)


@pytest.mark.parametrize(
    "changes",
    [
        {"window": None},
        {"algorithm": Algorithm.LEASE},
        {"algorithm": Algorithm.LEASE, "window": None},
        {"algorithm": Algorithm.LEASE, "meter": CONCURRENT},
        {"meter": CONCURRENT},
        {"meter": CONCURRENT, "window": None},
    ],
)
def test_leases_and_only_they_have_no_window(changes: dict[str, Any]) -> None:
    """Meter, algorithm and window agree on whether a limit is one of leases."""
    with pytest.raises(ValueError, match="leases, and only they, have no window"):
        limit(changes)


@pytest.mark.parametrize("amount", [-1, MAX_COUNT + 1])
def test_an_amount_is_a_count(amount: int) -> None:
    """0 to 2^53 - 1: what Python and Lua both hold exactly."""
    with pytest.raises(ValueError, match=r"is not within 0\.\."):
        limit({"amount": amount})


@pytest.mark.parametrize("amount", [0, 1, MAX_COUNT])
def test_a_fixed_window_takes_any_count(amount: int) -> None:
    """Fixed windows multiply nothing."""
    assert limit({"amount": amount}).capacity == amount


@pytest.mark.parametrize(
    "changes",
    [
        {"burst": 1},
        {"burst": -1, "algorithm": Algorithm.TOKEN_BUCKET},
        {"burst": 0, "algorithm": Algorithm.TOKEN_BUCKET},
        {"burst": 5, "algorithm": Algorithm.SLIDING_WINDOW},
    ],
)
def test_token_buckets_and_only_they_have_a_burst(changes: dict[str, Any]) -> None:
    """A bucket of size 0 would deny everything, and other algorithms have no bucket."""
    with pytest.raises(ValueError, match="have a positive burst"):
        limit(changes)


def test_a_token_bucket_is_refilled() -> None:
    """With amount 0 the burst would pass once and, once forgotten, again: 0 denies everything."""
    with pytest.raises(ValueError, match="token bucket of 0"):
        bucket(0, burst=5)


@pytest.mark.parametrize(
    "changes",
    [
        {"algorithm": Algorithm.SLIDING_WINDOW, "amount": MAX_COUNT // HOUR + 1},
        {"algorithm": Algorithm.SLIDING_WINDOW, "amount": MAX_COUNT // (31 * DAY) + 1}
        | {"window": MONTHLY},
        {"algorithm": Algorithm.TOKEN_BUCKET, "amount": MAX_COUNT // HOUR, "burst": 1},
        {"algorithm": Algorithm.TOKEN_BUCKET, "amount": 1, "burst": MAX_COUNT // HOUR},
        {"algorithm": Algorithm.TOKEN_BUCKET, "burst": 1, "window": MONTHLY},
    ],
)
def test_arithmetic_that_would_not_stay_exact_is_refused(changes: dict[str, Any]) -> None:
    """Amount times window fits 53 bits; a token bucket's window has one length."""
    with pytest.raises(ValueError, match="amount times window is over"):
        limit(changes)


def test_what_just_fits_is_taken() -> None:
    """The bound is the last value allowed."""
    hour = Window.of(Unit.HOUR)
    assert sliding(MAX_COUNT // HOUR, hour).amount == MAX_COUNT // HOUR
    assert bucket(MAX_COUNT // HOUR - 1, hour, burst=1).burst == 1


def test_capacity_is_what_can_be_had_at_once() -> None:
    """The burst of a token bucket, else the amount."""
    assert bucket(5, burst=20).capacity == 20
    assert fixed(7).capacity == leases(7).capacity == 7


def test_limits_are_compared_by_identity() -> None:
    """One object, one limit: a limit is a key of caches."""
    one = fixed(5)
    assert one != replace(one)
    assert len({one, replace(one), one}) == 2


def test_values_are_frozen() -> None:
    """Nobody changes a policy that is in use."""
    with pytest.raises(FrozenInstanceError):
        fixed(5).amount = 6  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        REQUESTS.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(("after", "left"), [(0, 5), (4, 1), (5, 0), (6, 0), (MAX_COUNT, 0)])
def test_remaining_is_never_negative(after: int, left: int) -> None:
    """Debt shows as nothing left."""
    standing = Standing(fixed(5), passes=True, before=0, after=after, retry_at=0, reset_at=S)
    assert standing.remaining == left
