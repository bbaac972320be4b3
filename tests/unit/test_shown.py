"""Which limit the headers show, and what each descriptor's status says (design, section 6)."""

from dataclasses import replace
from types import MappingProxyType

import pytest

from ratelimitd.decision import Decision
from ratelimitd.model import NEVER, Limit
from ratelimitd.policy.spec import Family, Tier
from tests.support.ops import (
    CONCURRENT,
    HOUR,
    HOURLY,
    MINUTE,
    MINUTELY,
    MONTHLY,
    NEW_YEAR,
    TOKENS,
    S,
    bucket,
    fixed,
    leases,
    shadow,
)
from tests.support.policies import Service, agent_api, describe, with_tier

REQUEST = describe("api_key=demo-pro")
OTHER = describe("api_key=demo-free")
TOKEN_PEEK = describe("api_key=demo-pro", "meter=tokens")
SPENT = describe("api_key=demo-pro", "meter=tokens", hits=500)
HELD = describe("api_key=demo-pro", "meter=concurrent")


def shown(decision: Decision) -> tuple[str, int] | None:
    """Return name and remaining of the limit that headers show."""
    standing = decision.shown
    return standing and (standing.limit.name, standing.remaining)


def test_the_reported_limit_is_shown_though_another_is_tighter() -> None:
    """A pro key sees its hour: 999 of 1000, not 99 of 100 a minute."""
    assert shown(Service(agent_api()).ask(REQUEST)) == ("requests/hour", 999)


def test_the_reported_limit_is_shown_wherever_its_descriptor_stands() -> None:
    """Tokens and leases come behind what the policy reports."""
    decision = Service(agent_api()).ask(HELD, TOKEN_PEEK, REQUEST)
    assert shown(decision) == ("requests/hour", 999)


def test_what_is_shown_remains_after_the_whole_call() -> None:
    """Two charges on one counter leave 998, and that is what the headers say."""
    assert shown(Service(agent_api()).ask(REQUEST, REQUEST)) == ("requests/hour", 998)


def test_of_two_callers_in_one_call_the_tightest_is_shown() -> None:
    """Both have the reported limit; who has less left speaks, in either order."""
    service = Service(agent_api())
    assert shown(service.ask(OTHER, REQUEST)) == ("requests/hour", 99)
    assert shown(service.ask(REQUEST, OTHER)) == ("requests/hour", 98)


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ("requests/day", "requests/hour"),
        ("tokens/month", "requests/minute"),
        ("unheard-of", "requests/minute"),
        ("", "requests/minute"),
    ],
)
def test_without_the_reported_limit_its_meters_longest_window_is_shown(
    report: str, expected: str
) -> None:
    """A meter that the call does not ask about gives no hint: then it is the tightest."""
    policy = agent_api(report=report)
    assert shown(Service(policy).ask(REQUEST)) == (expected, 999 if "hour" in expected else 99)


def test_a_reported_limit_of_another_tier_still_names_its_meter() -> None:
    """`report: burst` of the pro tier makes a free key see the longest window of that meter."""
    burst = replace(bucket(5, burst=5), name="burst")
    tiers = {
        "pro": Tier(name="pro", limits=(burst,)),
        "free": Tier(name="free", limits=(fixed(100, HOURLY), fixed(10, MINUTELY))),
    }
    policy = agent_api(tiers=MappingProxyType(tiers), report="burst")
    service = Service(policy)
    assert shown(service.ask(REQUEST)) == ("burst", 4)
    assert shown(service.ask(OTHER)) == ("requests/hour", 99)


def test_of_equal_windows_of_the_meter_the_tightest_is_shown() -> None:
    """Two limits an hour: the longest window does not decide."""
    narrow = replace(fixed(10, HOURLY), name="narrow", when=(("model", "x"),))
    policy = with_tier(fixed(100, HOURLY), narrow, fixed(5, MINUTELY), report="requests/day")
    service = Service(policy)
    assert shown(service.say("api_key=k", "model=x")) == ("narrow", 9)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ((leases(2), fixed(10, MONTHLY, TOKENS), fixed(100)), "requests/hour"),
        ((leases(2), fixed(10, MONTHLY, TOKENS)), "tokens/month"),
        ((leases(2),), "concurrent"),
    ],
)
def test_prepaid_is_shown_before_postpaid_before_leases(
    limits: tuple[Limit, ...], expected: str
) -> None:
    """Without a reported limit the kind of meter decides before tightness does."""
    decision = Service(with_tier(*limits)).ask(
        describe("api_key=k", "meter=concurrent"),
        describe("api_key=k", "meter=tokens"),
        describe("api_key=k"),
    )
    assert decision.shown is not None
    assert decision.shown.limit.name == expected


def test_a_shadow_limit_is_never_shown_and_never_denies() -> None:
    """Watched limits speak to the operator only: not in headers, statuses or the ietf list."""
    policy = with_tier(shadow(fixed(1)), report="requests/hour", families=(Family.IETF,))
    service = Service(policy)
    for _ in range(3):
        decision = service.say("api_key=k")
        assert decision.allowed
        assert (decision.shown, decision.standings) == (None, ())
        assert [status.standing for status in decision.statuses] == [None]


def test_a_denied_call_shows_the_longest_wait() -> None:
    """Minute and hour both deny: who waits for the hour has waited for the minute."""
    service = Service(with_tier(fixed(3, MINUTELY), fixed(3, HOURLY), report="requests/minute"))
    service.times(3, lambda: service.say("api_key=k"))
    decision = service.say("api_key=k")
    assert shown(decision) == ("requests/hour", 0)
    assert decision.shown is not None
    assert decision.shown.retry_at == NEW_YEAR + HOUR


def test_a_denied_call_shows_a_limit_that_denies_not_the_reported_one() -> None:
    """The hour has room; the minute has the wait that the caller must obey."""
    service = Service(agent_api())
    decision = service.times(101, lambda: service.ask(REQUEST))
    assert not decision.allowed
    assert shown(decision) == ("requests/minute", 0)
    assert decision.shown is not None
    assert decision.shown.retry_at == NEW_YEAR + MINUTE


def test_what_can_never_fit_is_shown_before_any_wait() -> None:
    """Waiting would not help, so it must not be asked for."""
    service = Service(with_tier(fixed(3, MINUTELY), fixed(10, HOURLY)))
    service.times(3, lambda: service.say("api_key=k"))
    decision = service.say("api_key=k", hits=11)
    assert decision.shown is not None
    assert (decision.shown.limit.name, decision.shown.retry_at) == ("requests/hour", NEVER)


@pytest.mark.parametrize(
    "entries",
    [
        ("api_key=demo-pro", "phase=done"),
        ("api_key=demo-pro", "route=health"),
        ("api_key=demo-pro", "meter=unheard-of"),
    ],
)
def test_reports_exempt_and_unmatched_calls_show_nothing(entries: tuple[str, ...]) -> None:
    """There is nothing to tell the caller."""
    decision = Service(agent_api()).say(*entries)
    assert decision.allowed
    assert decision.shown is None


def test_a_report_beside_a_charge_is_not_what_is_shown() -> None:
    """Only what was asked is shown; the report has a status of its own."""
    policy = agent_api(report="tokens/month")
    decision = Service(policy).ask(SPENT, REQUEST)
    assert shown(decision) == ("requests/minute", 99)
    first = decision.statuses[0].standing
    assert first is not None
    assert (first.limit.name, first.remaining) == ("tokens/month", 1_999_500)


def test_every_descriptor_has_a_status_in_its_order() -> None:
    """The tightest limit of each, none where no limit applies."""
    decision = Service(agent_api()).ask(HELD, describe("route=health"), REQUEST, TOKEN_PEEK)
    names = [status.standing and status.standing.limit.name for status in decision.statuses]
    assert names == ["concurrent", None, "requests/minute", "tokens/month"]
    assert all(status.passes for status in decision.statuses)


def test_in_a_denied_call_what_would_have_passed_is_ok_and_uncharged() -> None:
    """Only the descriptor that is denied is OVER_LIMIT; nobody else has paid."""
    service = Service(agent_api())
    service.times(10, lambda: service.ask(OTHER))
    for _ in range(2):
        decision = service.ask(REQUEST, OTHER, HELD)
        assert [status.passes for status in decision.statuses] == [True, False, True]
        left = [status.standing and status.standing.remaining for status in decision.statuses]
        assert left == [1000, 0, 10]
        assert decision.lease == ""


def test_a_denied_descriptor_names_its_longest_wait() -> None:
    """Each status tells of the limit that denies it, whatever its other limits say."""
    service = Service(with_tier(fixed(1, MINUTELY), fixed(2, HOURLY), fixed(99, MONTHLY)))
    service.say("api_key=k")
    service.clock.advance(61 * S)
    service.say("api_key=k")
    status = service.say("api_key=k").statuses[0]
    assert status.standing is not None
    assert status.standing.limit.name == "requests/hour"


def test_a_lease_is_granted_once_per_call_for_all_its_limits() -> None:
    """Two descriptors, one counter, one lease: amount 2 lets two such calls in."""
    service = Service(with_tier(leases(2)))
    twice = describe("api_key=k", f"meter={CONCURRENT.name}")
    granted = [service.ask(twice, twice) for _ in range(3)]
    assert [decision.allowed for decision in granted] == [True, True, False]
    assert [decision.lease for decision in granted] == ["lease-1", "lease-2", ""]
