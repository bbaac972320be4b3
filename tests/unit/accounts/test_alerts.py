"""Which events are due by how limits stand."""

import json
from dataclasses import replace
from typing import Any

import pytest

from ratelimitd.accounts.alerts import HOUR, Alert, AlertType, Event, Reported, chosen, due
from ratelimitd.model import (
    Algorithm,
    Limit,
    Meter,
    MeterKind,
    Standing,
    Subject,
    Unit,
    Window,
)

NOW = 1_704_110_400_000_000
"""2024-01-01T12:00:00Z."""
REPORTED = Reported("requests/hour", "requests")
REQUESTS = Meter(name="requests", kind=MeterKind.PREPAID)
TOKENS = Meter(name="tokens", kind=MeterKind.POSTPAID)
CONCURRENT = Meter(name="concurrent", kind=MeterKind.LEASE, lease_us=60_000_000)


def window(meter: Meter, amount: int, unit: Unit) -> Limit:
    """Return an ordinary limit."""
    return Limit(
        name=f"{meter.name}/{unit.value}", meter=meter, amount=amount, window=Window.of(unit)
    )


HOURLY = window(REQUESTS, 1000, Unit.HOUR)
MINUTELY = window(REQUESTS, 100, Unit.MINUTE)
MONTHLY = window(TOKENS, 100, Unit.MONTH)
HELD = Limit(name="concurrent", meter=CONCURRENT, amount=10, window=None, algorithm=Algorithm.LEASE)


def wish(kind: str = "rate_limit", threshold: int = 80, limit: str = "") -> Alert:
    """Return an alert."""
    return Alert(
        id="alert_1",
        subject=Subject(b"s" * 16),
        type=AlertType(kind),
        limit=limit,
        threshold=threshold,
        created=NOW,
        sealed=b"",
    )


def stands(limit: Limit, used: int) -> Standing:
    """Return how a limit stands after a decision."""
    return Standing(limit, True, max(0, used - 1), used, NOW, NOW + 1)


def event_of(alert: Alert, limit: Limit, used: int, now: int = NOW) -> Event | None:
    """Return the event that is due."""
    return due(alert, limit, f"domain|{limit.name}", stands(limit, used), now)


def events_of(alert: Alert, limit: Limit, *moments: tuple[int, int]) -> list[Event]:
    """Return the events of a limit that stands so at some instants: (used, now)."""
    events = [event_of(alert, limit, used, now) for used, now in moments]
    assert None not in events
    return [event for event in events if event is not None]


@pytest.mark.parametrize(
    ("threshold", "used", "is_due"),
    [
        *((80, 799, False), (80, 800, True), (80, 1000, True), (100, 999, False)),
        *((100, 1000, True), (100, 2000, True), (1, 10, True), (1, 9, False)),
    ],
)
def test_an_event_is_due_from_the_threshold_on(threshold: int, used: int, is_due: bool) -> None:
    """Exactly at threshold percent of the limit, and beyond."""
    assert (event_of(wish(threshold=threshold), HOURLY, used) is not None) is is_due


def test_nothing_used_is_no_event() -> None:
    """Even where nothing is allowed: no decision has reached anything."""
    nothing = replace(HOURLY, amount=0)
    assert event_of(wish(threshold=1), nothing, 0) is None
    assert event_of(wish(threshold=1), nothing, 1) is not None


def test_the_body_is_the_promised_one() -> None:
    """All that a receiver needs to know, in words of the policy."""
    (event,) = events_of(wish(), HOURLY, (800, NOW))
    assert json.loads(event.body) == {
        "type": "rate_limit.threshold_reached",
        "timestamp": "2024-01-01T12:00:00Z",
        "data": {
            "meter": "requests",
            "window": "hour",
            "threshold": 80,
            "used": 800,
            "limit": 1000,
            "remaining": 200,
            "reset_at": "2024-01-01T12:00:01Z",
        },
    }


def test_a_billing_day_s_month_is_a_month() -> None:
    """Receivers do not know our spelling of windows."""
    billed = replace(MONTHLY, window=Window.of(Unit.MONTH, anchor_day=15))
    (event,) = events_of(wish("token_quota"), billed, (100, NOW))
    assert json.loads(event.body)["data"]["window"] == "month"


def test_debt_leaves_nothing() -> None:
    """What is used beyond the limit is told, what remains is not below nothing."""
    (event,) = events_of(wish("token_quota"), MONTHLY, (150, NOW))
    data = json.loads(event.body)["data"]
    assert (data["used"], data["remaining"]) == (150, 0)


def test_one_window_has_one_id() -> None:
    """Whoever tells it, at whatever use; the next window has another."""
    moments = ((800, NOW), (950, NOW + HOUR - 1), (800, NOW + HOUR))
    first, second, third = events_of(wish(), HOURLY, *moments)
    assert first.id == second.id != third.id
    assert first.ends == NOW + HOUR


def test_leases_are_told_once_an_hour() -> None:
    """What has no window has the hour's."""
    moments = ((8, NOW + 5), (9, NOW + HOUR - 1), (9, NOW + HOUR))
    first, second, third = events_of(wish("concurrent"), HELD, *moments)
    assert first.id == second.id != third.id
    assert json.loads(first.body)["data"]["window"] is None


def test_each_limit_has_ids_of_its_own() -> None:
    """That of another domain has the same name and another counter."""
    one, other = (
        due(wish(), HOURLY, family, stands(HOURLY, 800), NOW) for family in ("a|x", "b|x")
    )
    assert one is not None
    assert other is not None
    assert one.id != other.id


@pytest.mark.parametrize(
    ("kind", "limit", "expected"),
    [
        ("rate_limit", "", HOURLY),
        ("rate_limit", "requests/minute", MINUTELY),
        ("token_quota", "", MONTHLY),
        ("concurrent", "", HELD),
        ("rate_limit", "tokens/month", None),
        ("rate_limit", "requests/day", None),
    ],
)
def test_an_alert_is_about_one_limit(kind: str, limit: str, expected: Limit | None) -> None:
    """The reported one, or the named one, of the meters of its type."""
    limits = (HOURLY, MINUTELY, MONTHLY, HELD)
    assert chosen(AlertType(kind), limit, limits, REPORTED) is expected


@pytest.mark.parametrize("reported", [Reported(), Reported("requests/day", "requests")])
def test_without_the_reported_limit_the_longest_is_meant(reported: Reported) -> None:
    """Where headers report none, or the key has another in its place."""
    limits = (MINUTELY, HOURLY, MONTHLY)
    assert chosen(AlertType.RATE_LIMIT, "", limits, reported) is HOURLY


@pytest.mark.parametrize("changes", [{"per": ("org",)}, {"shadow": True}])
def test_what_others_share_is_nobody_s_alert(changes: dict[str, Any]) -> None:
    """A limit of an org, or a shadow one, is not the key's own."""
    assert chosen(AlertType.RATE_LIMIT, "", [replace(HOURLY, **changes)], REPORTED) is None


@pytest.mark.parametrize("threshold", [0, 101, -1])
def test_a_threshold_is_a_percentage(threshold: int) -> None:
    """0 would be always, and over 100 never."""
    with pytest.raises(ValueError, match="threshold"):
        wish(threshold=threshold)
