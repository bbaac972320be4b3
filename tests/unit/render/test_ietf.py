"""`RateLimit-Policy` and `RateLimit`, read back as a client would read them.

The parser is `retryheader`, which is none of ours: it refuses what is no structured field.
"""

from dataclasses import replace

import pytest
from retryheader import QuotaPolicy, ServiceLimit, parse_ratelimit, parse_ratelimit_policy

from ratelimitd import render
from ratelimitd.decision import Decision
from ratelimitd.model import MAX_COUNT, Descriptor, Limit, Meter, MeterKind, Unit, Window
from ratelimitd.policy.spec import Family
from tests.support.ops import (
    CONCURRENT,
    HOURLY,
    MINUTELY,
    MONTHLY,
    SECONDLY,
    TOKENS,
    S,
    bucket,
    fixed,
    leases,
    shadow,
)
from tests.support.policies import Service, describe, with_tier

REQUEST = describe("api_key=k")
ALL = (REQUEST, describe("api_key=k", "meter=tokens"), describe("api_key=k", "meter=concurrent"))
FAMILIES = (Family.X_RATELIMIT, Family.IETF)


def ietf(*limits: Limit) -> Service:
    """Return a limiter whose answers carry both families."""
    return Service(with_tier(*limits, families=FAMILIES))


def policies(decision: Decision) -> list[QuotaPolicy]:
    """Read RateLimit-Policy."""
    return parse_ratelimit_policy(dict(render.headers(decision))["RateLimit-Policy"])


def states(decision: Decision) -> list[ServiceLimit]:
    """Read RateLimit."""
    return parse_ratelimit(dict(render.headers(decision))["RateLimit"])


def test_every_limit_of_the_call_is_listed_in_both_fields() -> None:
    """Windows in seconds, units other than requests named, leases as concurrent requests."""
    service = ietf(fixed(100), fixed(10, MINUTELY), fixed(500, HOURLY, TOKENS), leases(2))
    decision = service.ask(*ALL)
    assert policies(decision) == [
        QuotaPolicy("requests/hour", 100, window=3600),
        QuotaPolicy("requests/minute", 10, window=60),
        QuotaPolicy("tokens/hour", 500, window=3600, unit="tokens"),
        QuotaPolicy("concurrent", 2, unit="concurrent-requests"),
    ]
    assert states(decision) == [
        ServiceLimit("requests/hour", 99, window=3600),
        ServiceLimit("requests/minute", 9, window=60),
        ServiceLimit("tokens/hour", 500, window=3600),
        ServiceLimit("concurrent", 1),
    ]


def test_the_fields_are_spelled_to_the_letter() -> None:
    """Names are quoted; the parameters stand in the draft's order."""
    headers = render.headers(ietf(fixed(100), leases(2)).ask(ALL[2], ALL[0]))
    assert headers[4:] == [
        (
            "RateLimit-Policy",
            '"concurrent";q=2;qu="concurrent-requests", "requests/hour";q=100;w=3600',
        ),
        ("RateLimit", '"concurrent";r=1, "requests/hour";r=99;t=3600'),
    ]


@pytest.mark.parametrize("unit", [Unit.MONTH, Unit.YEAR])
@pytest.mark.parametrize("day", [1, 31])
def test_a_calendar_window_has_no_length(unit: Unit, day: int) -> None:
    """Months differ, and a policy must be the same in every response."""
    decision = ietf(fixed(5, Window.of(unit, anchor_day=day))).ask(REQUEST)
    assert policies(decision)[0].window is None
    assert states(decision)[0].window is not None


def test_the_policy_field_is_the_same_whatever_is_left() -> None:
    """Allowed or denied, early or late in the window."""
    service = ietf(fixed(3), fixed(2, MINUTELY), leases(5))
    seen = set()
    for _ in range(5):
        decision = service.ask(REQUEST, ALL[2])
        seen.add(dict(render.headers(decision))["RateLimit-Policy"])
        service.clock.advance(25 * S)
    assert len(seen) == 1


def test_a_bucket_tells_the_time_in_which_it_fills() -> None:
    """`q` in `w`: 10 at once, 2 a second, so 5 seconds."""
    decision = ietf(bucket(2, SECONDLY, burst=10)).ask(REQUEST)
    assert policies(decision) == [QuotaPolicy("bucket/second", 10, window=5)]
    assert policies(ietf(bucket(3, SECONDLY, burst=10)).ask(REQUEST))[0].window == 4


def test_no_t_comes_after_retry_after() -> None:
    """A client that obeys Retry-After must find room then: a later t would contradict it."""
    service = ietf(fixed(100), fixed(1, MINUTELY), fixed(9, SECONDLY))
    service.ask(REQUEST)
    decision = service.ask(REQUEST)
    assert dict(render.headers(decision))["Retry-After"] == "60"
    assert states(decision) == [
        ServiceLimit("requests/hour", 99),
        ServiceLimit("requests/minute", 0, window=60),
        ServiceLimit("requests/second", 8, window=1),
    ]


def test_behind_a_denied_lease_only_what_is_over_at_once_has_a_t() -> None:
    """The advised second comes before the hour's end."""
    service = ietf(fixed(100), leases(1))
    service.ask(REQUEST, ALL[2])
    decision = service.ask(REQUEST, ALL[2])
    assert dict(render.headers(decision))["Retry-After"] == "1"
    assert states(decision) == [ServiceLimit("requests/hour", 99), ServiceLimit("concurrent", 0)]


def test_what_can_never_fit_has_no_t() -> None:
    """There is no time at which more is there for it."""
    decision = ietf(fixed(5)).ask(describe("api_key=k", hits=6))
    assert states(decision) == [ServiceLimit("requests/hour", 5)]


def test_a_name_stands_once_with_what_the_call_leaves() -> None:
    """Two descriptors of one caller are one limit: 98 are left."""
    decision = ietf(fixed(100)).ask(REQUEST, REQUEST)
    assert states(decision) == [ServiceLimit("requests/hour", 98, window=3600)]


def test_shadow_limits_and_reports_are_not_listed() -> None:
    """What binds nobody, and what was not asked."""
    service = ietf(fixed(100), shadow(fixed(1, MINUTELY)), fixed(500, HOURLY, TOKENS))
    decision = service.ask(REQUEST, describe("api_key=k", "meter=tokens", hits=7))
    assert [policy.name for policy in policies(decision)] == ["requests/hour"]


@pytest.mark.parametrize(
    "asked", [describe("api_key=k", "route=health"), describe("api_key=k", "phase=done")]
)
def test_nothing_to_show_is_no_field(asked: Descriptor) -> None:
    """An empty list must not be sent (RFC 9651, 3.1)."""
    assert render.headers(ietf(fixed(100)).ask(asked)) == []


@pytest.mark.parametrize("name", ['"', "\\", 'a "quoted" \\ name', "a;b=c, d", "*"])
def test_any_printable_name_is_quoted(name: str) -> None:
    """Quotation marks and backslashes are escaped; nothing else needs to be."""
    decision = ietf(replace(fixed(5), name=name)).ask(REQUEST)
    assert policies(decision)[0].name == states(decision)[0].policy == name


@pytest.mark.parametrize("amount", [0, 10**15 - 1, 10**15, MAX_COUNT])
def test_numbers_are_integers_of_structured_fields(amount: int) -> None:
    """At most 15 digits (RFC 9651, 3.3.1): more would void the whole field."""
    decision = ietf(fixed(amount)).ask(describe("api_key=k", hits=0))
    shown = min(amount, 10**15 - 1)
    assert policies(decision)[0].quota == shown
    assert states(decision)[0].remaining == shown


def test_a_meter_of_ones_own_is_its_unit() -> None:
    """`qu` names what is counted; prepaid or postpaid is nothing to the client."""
    meter = Meter(name="images", kind=MeterKind.PREPAID)
    limit = fixed(5, MONTHLY, meter)
    policy = with_tier(limit, families=FAMILIES, meters={"images": meter, "concurrent": CONCURRENT})
    decision = Service(policy).say("api_key=k", "meter=images")
    assert policies(decision) == [QuotaPolicy("images/month", 5, unit="images")]


def test_ietf_alone_leaves_the_four_out() -> None:
    """Families are chosen one by one."""
    service = Service(with_tier(fixed(5), families=(Family.IETF,)))
    names = [name for name, _ in render.headers(service.ask(REQUEST))]
    assert names == ["RateLimit-Policy", "RateLimit"]
