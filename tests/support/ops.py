"""Builders of limits, counters and operations, so that a test states only what it is about.

Times are microseconds. `NEW_YEAR` begins a year, month, day, hour and second at once; no week.
"""

from dataclasses import replace
from fractions import Fraction

from ratelimitd.keys import family
from ratelimitd.model import (
    Algorithm,
    Counter,
    Kind,
    Limit,
    Meter,
    MeterKind,
    Op,
    Unit,
    Window,
)

S = 1_000_000
MINUTE = 60 * S
HOUR = 60 * MINUTE
DAY = 24 * HOUR
NEW_YEAR = 1_640_995_200 * S
"""2022-01-01T00:00:00Z, a Saturday."""

REQUESTS = Meter(name="requests", kind=MeterKind.PREPAID)
TOKENS = Meter(name="tokens", kind=MeterKind.POSTPAID)
CONCURRENT = Meter(name="concurrent", kind=MeterKind.LEASE, lease_us=15 * MINUTE)

HOURLY = Window.of(Unit.HOUR)
MINUTELY = Window.of(Unit.MINUTE)
SECONDLY = Window.of(Unit.SECOND)
MONTHLY = Window.of(Unit.MONTH)


def fixed(amount: int, window: Window = HOURLY, meter: Meter = REQUESTS) -> Limit:
    """Return a fixed window limit named as policies name it."""
    return Limit(name=f"{meter.name}/{window.name}", meter=meter, amount=amount, window=window)


def sliding(amount: int, window: Window = HOURLY) -> Limit:
    """Return a sliding window limit."""
    limit = fixed(amount, window)
    return replace(limit, name=f"sliding/{window.name}", algorithm=Algorithm.SLIDING_WINDOW)


def bucket(amount: int, window: Window = SECONDLY, *, burst: int) -> Limit:
    """Return a token bucket."""
    return Limit(
        name=f"bucket/{window.name}",
        meter=REQUESTS,
        amount=amount,
        window=window,
        algorithm=Algorithm.TOKEN_BUCKET,
        burst=burst,
    )


def leases(amount: int, meter: Meter = CONCURRENT) -> Limit:
    """Return a concurrency limit."""
    return Limit(
        name=meter.name, meter=meter, amount=amount, window=None, algorithm=Algorithm.LEASE
    )


def shadow(limit: Limit) -> Limit:
    """Return the same limit, only watching."""
    return replace(limit, shadow=True)


def counter(limit: Limit, who: str = "caller", *, bounded: bool = False) -> Counter:
    """Return the counter of somebody; equal names share it."""
    return Counter(family("test", limit), who.encode(), bounded=bounded)


def op(
    kind: int,
    limit: Limit,
    hits: int = 1,
    *,
    who: str = "caller",
    prior: int = 0,
    lease: str = "",
    bounded: bool = False,
    as_of: int = 0,
) -> Op:
    """Return an operation of any kind."""
    return Op(kind, counter(limit, who, bounded=bounded), limit, hits, prior, lease, as_of)


def charge(
    limit: Limit, hits: int = 1, *, who: str = "caller", prior: int = 0, bounded: bool = False
) -> Op:
    """Return a charge."""
    return op(Kind.CHARGE, limit, hits, who=who, prior=prior, bounded=bounded)


def peek(limit: Limit, hits: int = 1, *, who: str = "caller", bounded: bool = False) -> Op:
    """Return a peek."""
    return op(Kind.PEEK, limit, hits, who=who, bounded=bounded)


def report(limit: Limit, hits: int = 1, *, who: str = "caller", bounded: bool = False) -> Op:
    """Return a report."""
    return op(Kind.REPORT, limit, hits, who=who, bounded=bounded)


def refund(
    limit: Limit, hits: int = 1, *, who: str = "caller", bounded: bool = False, as_of: int = 0
) -> Op:
    """Return a refund."""
    return op(Kind.REFUND, limit, hits, who=who, bounded=bounded, as_of=as_of)


def acquire(limit: Limit, lease: str, *, who: str = "caller", bounded: bool = False) -> Op:
    """Return an acquisition."""
    return op(Kind.ACQUIRE, limit, who=who, lease=lease, bounded=bounded)


def release(limit: Limit, lease: str, *, who: str = "caller", bounded: bool = False) -> Op:
    """Return a release."""
    return op(Kind.RELEASE, limit, who=who, lease=lease, bounded=bounded)


def renew(limit: Limit, lease: str, *, who: str = "caller", bounded: bool = False) -> Op:
    """Return a renewal."""
    return op(Kind.RENEW, limit, who=who, lease=lease, bounded=bounded)


def ceil(value: Fraction | int) -> int:
    """Round up, exactly."""
    return -(-value // 1)
