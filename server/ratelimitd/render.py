"""A decision as customers see it: response headers and the body of the 429. Pure.

Waits round up, what is left rounds down. `X-RateLimit-*` as the API's documentation promises;
`RateLimit` and `RateLimit-Policy` as draft-ietf-httpapi-ratelimit-headers-10 (structured fields,
RFC 9651); `Retry-After` in seconds (RFC 9110, 10.2.3).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ratelimitd.model import NEVER, OWN, Algorithm, Limit, MeterKind
from ratelimitd.policy.spec import Family
from ratelimitd.windows import timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratelimitd.decision import Decision
    from ratelimitd.model import Standing

X_REMAINING = "X-RateLimit-Remaining"
IETF_STATE = "RateLimit"
X_NAMES = (
    "X-RateLimit-Limit",
    X_REMAINING,
    "X-RateLimit-Reset",
    "X-RateLimit-Reset-After",
)
EXCEEDED = "API rate limit exceeded"
"""What the body of a denial by a limit says."""
RETRY_AFTER = "Retry-After"
CONTENT_TYPE = ("content-type", "application/json")
EXCEEDS_LIMIT = "exceeds_limit"
"""`details.reason` of a request that can never fit."""
UNCHECKED = "rate limits cannot be checked at present"
"""What the body of a denial says whose `Decision.reason` is not a limit's."""
UNCHECKED_WAIT = 1
"""Seconds after which such a caller may try again; nobody knows better."""

_SECOND = 1_000_000
_INTEGER = 10**15 - 1
"""The largest integer of a structured field (RFC 9651, 3.3.1)."""

Header = tuple[str, str]


def seconds_until(instant: int, now: int) -> int:
    """Return whole seconds from now until an instant, rounded up, never negative."""
    return max(0, -((now - instant) // _SECOND))


def x_ratelimit(standing: Standing, now: int) -> tuple[str, str, str]:
    """Return Remaining, Reset (Unix seconds) and Reset-After (seconds) of a limit."""
    reset_after = -((now - standing.reset_at) // _SECOND)
    return (
        str(standing.remaining),
        str(-(-standing.reset_at // _SECOND)),
        str(reset_after if reset_after > 0 else 0),
    )


def headers(decision: Decision) -> list[Header]:
    """Return the response headers of a decision, in a fixed order.

    Allowed calls without a limit to show have none. The order: the four of X-RateLimit, then
    RateLimit-Policy and RateLimit, then (denied) Retry-After and content-type.
    """
    shown = decision.shown
    result: list[Header] = []
    if shown is not None:
        if Family.X_RATELIMIT in decision.families:
            values = (str(shown.limit.capacity), *x_ratelimit(shown, decision.now))
            result += zip(X_NAMES, values, strict=True)
        if Family.IETF in decision.families:
            result.append(("RateLimit-Policy", ietf_policy(decision.standings)))
            result.append((IETF_STATE, ietf_state(decision)))
    if not decision.allowed:
        wait = retry_after(decision)
        if wait is not None:
            result.append((RETRY_AFTER, str(wait)))
        result.append(CONTENT_TYPE)
    return result


def retry_after(decision: Decision) -> int | None:
    """Return the seconds a denied caller should wait; None where waiting does not help."""
    shown = decision.shown
    if decision.reason and not decision.allowed:
        return UNCHECKED_WAIT
    if decision.allowed or shown is None or shown.retry_at == NEVER:
        return None
    return max(1, seconds_until(shown.retry_at, decision.now))


def body(decision: Decision) -> str:
    """Return the JSON body of a 429; empty for an allowed call."""
    if decision.allowed:
        return ""
    shown = decision.shown
    details: dict[str, object] = {}
    if shown is not None:
        details = {
            "limit": shown.limit.capacity,
            "remaining": shown.remaining,
            "reset_at": None if shown.reset_at == NEVER else timestamp(shown.reset_at),
            "retry_after": retry_after(decision),
        }
        if shown.retry_at == NEVER:
            details["reason"] = EXCEEDS_LIMIT
        details.update(_whose(shown.limit))
    elif decision.reason and not decision.refusal:
        details = {"retry_after": retry_after(decision), "reason": decision.reason}
    error = {
        "code": "RATE_LIMIT_EXCEEDED",
        "message": message(decision),
        "details": details,
        "status": 429,
    }
    return json.dumps({"error": error})


def _whose(limit: Limit) -> dict[str, str]:
    """Return which limit it is and who shares it, where that is not each key's own."""
    if limit.per == OWN:
        return {}
    return {"limit_name": limit.name, "scope": ", ".join(limit.per) or "domain"}


def message(decision: Decision) -> str:
    """Return why a call is denied, in words for its caller."""
    if decision.shown is not None:
        return EXCEEDED
    return decision.refusal or (UNCHECKED if decision.reason else EXCEEDED)


def ietf_policy(standings: Sequence[Standing]) -> str:
    """Return `RateLimit-Policy`: the call's limits, alike in every response to the same call."""
    return ", ".join(_policy_item(standing.limit) for standing in standings)


def ietf_state(decision: Decision) -> str:
    """Return `RateLimit`: what is left of each limit, and the seconds until there is more.

    `t` is left out where it would come after Retry-After, which clients must obey first.
    """
    latest = retry_after(decision)
    items = []
    for standing in decision.standings:
        item = f"{_quoted(standing.limit.name)};r={min(standing.remaining, _INTEGER)}"
        instant = standing.reset_at if standing.passes else standing.retry_at
        if standing.limit.meter.kind is not MeterKind.LEASE and instant != NEVER:
            wait = seconds_until(instant, decision.now)
            if latest is None or wait <= latest:
                item += f";t={wait}"
        items.append(item)
    return ", ".join(items)


def _policy_item(limit: Limit) -> str:
    item = f"{_quoted(limit.name)};q={min(limit.capacity, _INTEGER)}"
    if limit.meter.kind is MeterKind.LEASE:
        return item + ';qu="concurrent-requests"'
    if limit.meter.name != "requests":
        item += f";qu={_quoted(limit.meter.name)}"
    window = limit.window
    if window is None or not window.length_us:
        return item
    length = window.length_us
    if limit.algorithm is Algorithm.TOKEN_BUCKET:
        length = -(-limit.burst * length // limit.amount)
    return f"{item};w={-(-length // _SECOND)}"


def _quoted(text: str) -> str:
    """Return a structured-field string (RFC 9651, 3.3.3); policy names are printable ASCII."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
