"""Which events are due by how limits stand."""

import json

import pytest

from ratelimitd.accounts.alerts import HOUR, Alert, AlertType, Reported, due
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


@pytest.mark.parametrize(
    ("threshold", "used", "expected"),
    [(80, 799, 0), (80, 800, 1), (80, 1000, 1), (100, 999, 0), (100, 1000, 1), (1, 10, 1)],
)
def test_an_event_is_due_from_the_threshold_on(threshold: int, used: int, expected: int) -> None:
    """Exactly at threshold percent of the limit, and beyond."""
    assert len(due([wish(threshold=threshold)], [stands(HOURLY, used)], NOW, REPORTED)) == expected


def test_the_body_is_the_promised_one() -> None:
    """All that a receiver needs to know, in words of the policy."""
    (event,) = due([wish()], [stands(HOURLY, 800)], NOW, REPORTED)
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


def test_one_window_has_one_id() -> None:
    """Whoever tells it, at whatever use; the next window has another."""
    wishes = [wish()]
    (first,) = due(wishes, [stands(HOURLY, 800)], NOW, REPORTED)
    (second,) = due(wishes, [stands(HOURLY, 950)], NOW + HOUR - 1, REPORTED)
    (third,) = due(wishes, [stands(HOURLY, 800)], NOW + HOUR, REPORTED)
    assert first.id == second.id != third.id
    assert first.over == NOW + HOUR


def test_leases_are_told_once_an_hour() -> None:
    """What has no window has the hour's."""
    wishes = [wish("concurrent")]
    (first,) = due(wishes, [stands(HELD, 8)], NOW + 5, REPORTED)
    (second,) = due(wishes, [stands(HELD, 9)], NOW + HOUR - 1, REPORTED)
    (third,) = due(wishes, [stands(HELD, 9)], NOW + HOUR, REPORTED)
    assert first.id == second.id != third.id
    assert json.loads(first.body)["data"]["window"] is None


@pytest.mark.parametrize(
    ("kind", "limit", "told"),
    [
        ("rate_limit", "", "requests/hour"),
        ("rate_limit", "requests/minute", "requests/minute"),
        ("token_quota", "", "tokens/month"),
        ("concurrent", "", "concurrent"),
        ("rate_limit", "tokens/month", None),
        ("rate_limit", "requests/day", None),
    ],
)
def test_an_alert_is_about_one_limit(kind: str, limit: str, told: str | None) -> None:
    """The reported one, or the named one, of the meters of its type."""
    used = {HOURLY: 999, MINUTELY: 99, MONTHLY: 150, HELD: 9}
    standings = [stands(each, count) for each, count in used.items()]
    events = due([wish(kind, limit=limit)], standings, NOW, REPORTED)
    expected = {each.name: count for each, count in used.items()}
    told_of = [json.loads(event.body)["data"]["used"] for event in events]
    assert told_of == ([expected[told]] if told else [])


def test_what_others_share_is_nobodys_alert() -> None:
    """A limit of an org, or a shadow one, is not the key's own."""
    shared = Limit(
        name="requests/hour", meter=REQUESTS, amount=10, window=HOURLY.window, per=("org",)
    )
    shadow = Limit(
        name="requests/hour", meter=REQUESTS, amount=10, window=HOURLY.window, shadow=True
    )
    assert not due([wish()], [stands(shared, 10), stands(shadow, 10)], NOW, REPORTED)


@pytest.mark.parametrize("threshold", [0, 101, -1])
def test_a_threshold_is_a_percentage(threshold: int) -> None:
    """0 would be always, and over 100 never."""
    with pytest.raises(ValueError, match="threshold"):
        wish(threshold=threshold)
