"""The public documentation's promises to the letter: headers, Retry-After, the body of the 429."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from ratelimitd import render
from ratelimitd.decision import Decision
from ratelimitd.model import NEVER, Limit, Standing
from ratelimitd.policy.spec import Family
from tests.support.ops import (
    DAY,
    HOURLY,
    MINUTELY,
    NEW_YEAR,
    SECONDLY,
    S,
    bucket,
    fixed,
    leases,
    shadow,
)
from tests.support.policies import Service, agent_api, describe, record, records, with_tier

X = (
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "X-RateLimit-Reset-After",
)
JSON = ("content-type", "application/json")
PRO = "api_key=Bearer demo-pro"


def instant(text: str) -> int:
    """Return an instant, microseconds."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * S


def error(decision: Decision) -> dict[str, Any]:
    """Return what the body of a 429 says."""
    parsed: dict[str, Any] = json.loads(render.body(decision))["error"]
    return parsed


def denial(
    limit: Limit, *, retry_at: int, reset_at: int, now: int = NEW_YEAR, after: int | None = None
) -> Decision:
    """Return a denied decision about one limit."""
    used = limit.capacity if after is None else after
    standing = Standing(limit, False, used, used, retry_at, reset_at)
    return Decision(now, False, (), standing, (standing,), (Family.X_RATELIMIT,))


def test_the_promised_example_of_a_pro_key() -> None:
    """`1000`, `999`, `1640995200`, `3600`: a full hour before the year 2022."""
    service = Service(agent_api(), now=instant("2021-12-31T23:00:00"))
    assert render.headers(service.say(PRO)) == [
        ("X-RateLimit-Limit", "1000"),
        ("X-RateLimit-Remaining", "999"),
        ("X-RateLimit-Reset", "1640995200"),
        ("X-RateLimit-Reset-After", "3600"),
    ]
    assert render.body(service.say(PRO)) == ""


def test_the_promised_body_of_a_429() -> None:
    """Word for word; also the order of its members and the spaces between them."""
    limit = fixed(100)
    noon, one = instant("2024-01-01T12:00:00"), instant("2024-01-01T13:00:00")
    assert render.body(denial(limit, retry_at=one, reset_at=one, now=noon)) == (
        '{"error": {"code": "RATE_LIMIT_EXCEEDED", "message": "API rate limit exceeded", '
        '"details": {"limit": 100, "remaining": 0, "reset_at": "2024-01-01T13:00:00Z", '
        '"retry_after": 3600}, "status": 429}}'
    )


def test_a_denied_call_has_the_four_then_retry_after_then_its_content_type() -> None:
    """In this order, each once."""
    service = Service(with_tier(fixed(1)), now=NEW_YEAR + 1000 * S)
    service.say("api_key=k")
    assert render.headers(service.say("api_key=k")) == [
        (X[0], "1"),
        (X[1], "0"),
        (X[2], str(NEW_YEAR // S + 3600)),
        (X[3], "2600"),
        ("Retry-After", "2600"),
        JSON,
    ]


@pytest.mark.parametrize(
    ("wait", "seconds"),
    [(1, 1), (S - 1, 1), (S, 1), (S + 1, 2), (59 * S + 1, 60), (60 * S, 60), (31 * DAY, 2_678_400)],
)
def test_waits_round_up(wait: int, seconds: int) -> None:
    """Whoever waits that many whole seconds is never early, and nobody is told to wait for 0."""
    decision = denial(fixed(1), retry_at=NEW_YEAR + wait, reset_at=NEW_YEAR + wait)
    headers = dict(render.headers(decision))
    assert headers["Retry-After"] == str(seconds)
    assert headers["X-RateLimit-Reset-After"] == str(seconds)
    assert error(decision)["details"]["retry_after"] == seconds


def test_the_reset_rounds_up_to_a_whole_second_as_well() -> None:
    """At the second shown the limit is whole, in the header as in the body."""
    now = NEW_YEAR + S // 2
    decision = denial(bucket(1, burst=2), retry_at=now + 1, reset_at=now + 1, now=now)
    assert dict(render.headers(decision))["X-RateLimit-Reset"] == str(NEW_YEAR // S + 1)
    assert error(decision)["details"]["reset_at"] == "2022-01-01T00:00:01Z"


def test_retry_and_reset_are_told_apart() -> None:
    """A bucket passes one hit soon and is full later: Retry-After is soon, the reset is later."""
    service = Service(with_tier(bucket(2, SECONDLY, burst=10)))
    service.say("api_key=k", hits=10)
    decision = service.say("api_key=k")
    headers = dict(render.headers(decision))
    assert (headers["Retry-After"], headers["X-RateLimit-Reset-After"]) == ("1", "5")
    assert error(decision)["details"]["retry_after"] == 1
    assert error(decision)["details"]["reset_at"] == "2022-01-01T00:00:05Z"


def test_a_limit_of_a_bucket_is_its_burst() -> None:
    """The maximum that can be had at once, so that remaining never exceeds it."""
    service = Service(with_tier(bucket(2, SECONDLY, burst=10)))
    headers = dict(render.headers(service.say("api_key=k")))
    assert (headers[X[0]], headers[X[1]]) == ("10", "9")


def test_remaining_rounds_down() -> None:
    """Half a hit refilled is none."""
    service = Service(with_tier(bucket(1, SECONDLY, burst=3)))
    service.say("api_key=k", hits=3)
    service.clock.advance(1_500_000)
    left = service.say("api_key=k").shown
    assert left is not None
    assert left.remaining == 0


def test_debt_shows_as_nothing_left() -> None:
    """Never a negative number."""
    decision = denial(fixed(10), retry_at=NEW_YEAR + S, reset_at=NEW_YEAR + S, after=25)
    assert dict(render.headers(decision))["X-RateLimit-Remaining"] == "0"
    assert error(decision)["details"]["remaining"] == 0


@pytest.mark.parametrize(("limit", "hits"), [(fixed(5), 6), (fixed(0), 1), (bucket(9, burst=5), 6)])
def test_what_can_never_fit_has_a_reason_and_no_retry_after(limit: Limit, hits: int) -> None:
    """More hits than the limit holds, or an amount of 0: to wait would not help."""
    decision = Service(with_tier(limit)).say("api_key=k", hits=hits)
    assert "Retry-After" not in dict(render.headers(decision))
    details = error(decision)["details"]
    assert details["reason"] == "exceeds_limit"
    assert details["retry_after"] is None
    assert details["limit"] == limit.capacity


def test_what_could_fit_later_has_no_reason() -> None:
    """The member stands only where it says something."""
    decision = denial(fixed(5), retry_at=NEW_YEAR + 1, reset_at=NEW_YEAR + 1)
    assert set(error(decision)["details"]) == {"limit", "remaining", "reset_at", "retry_after"}


@pytest.mark.parametrize(
    ("per", "scope"),
    [(("org",), "org"), (("org", "project"), "org, project"), ((), "domain")],
)
def test_a_limit_that_several_keys_share_says_so(per: tuple[str, ...], scope: str) -> None:
    """By its name and by what they share, behind what is promised; of whom, it does not say."""
    limit = replace(fixed(5), per=per, name="theirs")
    details = error(denial(limit, retry_at=NEW_YEAR + 1, reset_at=NEW_YEAR + 1))["details"]
    usual = ["limit", "remaining", "reset_at", "retry_after"]
    assert list(details) == [*usual, "limit_name", "scope"]
    assert (details["limit_name"], details["scope"]) == ("theirs", scope)


def test_a_denied_lease_advises_one_second() -> None:
    """Nobody knows when a running request ends."""
    service = Service(with_tier(leases(1)))
    service.say("api_key=k", "meter=concurrent")
    service.clock.advance(1)
    headers = dict(render.headers(service.say("api_key=k", "meter=concurrent")))
    assert headers["Retry-After"] == "1"
    assert headers["X-RateLimit-Limit"] == "1"
    assert headers["X-RateLimit-Reset-After"] == "900"


def test_a_refused_key_has_its_message_and_no_numbers() -> None:
    """No X-RateLimit-*, no Retry-After: only the body's type, and why."""
    service = Service(agent_api(records=records(record("gone", "pro", refusal="revoked"))))
    decision = service.say("api_key=gone")
    assert render.headers(decision) == [JSON]
    assert render.body(decision) == (
        '{"error": {"code": "RATE_LIMIT_EXCEEDED", "message": "API key is revoked", '
        '"details": {}, "status": 429}}'
    )


@pytest.mark.parametrize(
    "policy",
    [agent_api(), with_tier(shadow(fixed(1))), with_tier()],
    ids=["exempt", "shadow", "unmatched"],
)
def test_calls_without_a_limit_to_show_carry_nothing(policy: Any) -> None:  # noqa: ANN401
    """Reports, exempt and unmatched calls, and calls of shadow limits alone."""
    service = Service(policy)
    entry = "route=health" if policy.exempt and policy.report else "route=x"
    for decision in (service.say("api_key=k", entry), service.say("api_key=k", "phase=done")):
        assert decision.allowed
        assert (render.headers(decision), render.body(decision)) == ([], "")


def test_content_type_stands_only_on_a_denial() -> None:
    """An allowed response has a body and a type of its own."""
    service = Service(agent_api())
    assert JSON not in render.headers(service.say(PRO))
    assert JSON in render.headers(service.times(100, lambda: service.say(PRO)))


def test_without_its_family_the_four_are_left_out() -> None:
    """`families: []` shows no numbers; a denial still says how long to wait."""
    service = Service(with_tier(fixed(1), families=()))
    assert render.headers(service.say("api_key=k")) == []
    assert render.headers(service.say("api_key=k")) == [("Retry-After", "3600"), JSON]


def test_a_reset_beyond_all_calendars_is_the_last_second() -> None:
    """A bucket of centuries must not break the body of a 429."""
    limit = bucket(1, burst=5)
    decision = denial(limit, retry_at=NEW_YEAR + 1, reset_at=2**62)
    assert error(decision)["details"]["reset_at"] == "9999-12-31T23:59:59Z"


def test_retry_after_is_true_to_the_second() -> None:
    """Denied one second before it, allowed at it."""
    service = Service(with_tier(fixed(2, MINUTELY), fixed(3, HOURLY)), now=NEW_YEAR + 12_345_678)
    service.say("api_key=k", hits=2)
    wait = render.retry_after(service.say("api_key=k", hits=2))
    assert wait == 3588
    service.clock.advance((wait - 1) * S)
    assert not service.say("api_key=k", hits=2).allowed
    service.clock.advance(S)
    assert service.say("api_key=k", hits=2).allowed


def test_a_question_that_charges_nothing_shows_what_is_left() -> None:
    """A peek carries the same headers, uncharged."""
    service = Service(agent_api())
    peeked = service.ask(describe(PRO, hits=0))
    assert dict(render.headers(peeked))["X-RateLimit-Remaining"] == "1000"
    assert peeked.shown is not None
    assert peeked.shown.retry_at != NEVER
