"""An answer as a person reads it, and as a script does."""

from __future__ import annotations

from ratelimitd.cli.decide import as_dict, as_text
from ratelimitd.rpc.ask import Answer, Said

ALLOWED = Answer(
    allowed=True,
    statuses=(Said(True, "requests/hour", 1000, "hour", 999, 3599.5),),
    headers=(("X-RateLimit-Limit", "1000"), ("X-RateLimit-Remaining", "999")),
    body="",
    lease="l1",
)
DENIED = Answer(
    allowed=False,
    statuses=(
        Said(False, "requests/minute", 10, "minute", 0, 13),
        Said(True, "", 0, "", 0, 0),
    ),
    headers=(("Retry-After", "13"),),
    body='{"error": {"status": 429}}',
    lease="",
)


def test_an_allowed_call_reads_as_one() -> None:
    """The verdict first, then each descriptor, then what the customer sees."""
    assert as_text(ALLOWED).plain == (
        "allowed\n"
        "  requests/hour: 999 of 1,000 left, all of it again in 1 h\n"
        "  lease l1\n"
        "\n"
        "X-RateLimit-Limit: 1000\n"
        "X-RateLimit-Remaining: 999"
    )


def test_a_denied_call_reads_as_one() -> None:
    """With the body of the 429 as it goes out."""
    assert as_text(DENIED).plain == (
        "denied\n"
        "  requests/minute: 0 of 10 left, all of it again in 13 s\n"
        "  no limit applies\n"
        "\n"
        "Retry-After: 13\n"
        "\n"
        '{"error": {"status": 429}}'
    )


def test_a_refused_key_is_told_apart_from_a_limit() -> None:
    """It has no limit that could be shown, and does not pass."""
    refused = DENIED._replace(statuses=(Said(False, "", 0, "", 0, 0),))
    assert "the key is refused" in as_text(refused).plain


def test_a_hostile_answer_stays_text() -> None:
    """Whoever answers at the target may send anything."""
    said = Said(True, "\x1b[2J", 1, "", 1, 0)
    hostile = ALLOWED._replace(statuses=(said,), headers=(("a", "\x1b]0;x\x07"),), body="\x1b[2J")
    assert "\x1b" not in as_text(hostile).plain


def test_an_answer_in_json() -> None:
    """The shape of `--json`, whole."""
    assert as_dict(DENIED) == {
        "allowed": False,
        "statuses": [
            {
                "passes": False,
                "limit": {"name": "requests/minute", "amount": 10, "unit": "minute"},
                "remaining": 0,
                "reset_after": 13,
            },
            {"passes": True, "limit": None, "remaining": 0, "reset_after": 0},
        ],
        "headers": {"Retry-After": "13"},
        "body": {"error": {"status": 429}},
        "lease": None,
    }


def test_a_body_that_is_no_json_stays_as_it_came() -> None:
    """The shape does not depend on good manners."""
    assert as_dict(DENIED._replace(body="<html>"))["body"] == "<html>"
