"""Decisions as Envoy's response messages.

Most of a response is the same whenever the same limits are shown: those parts are built once, and
each answer is a copy in which the numbers are set. Owns the templates; what headers say is
`render`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ratelimitd import render
from ratelimitd._gen.envoy.service.ratelimit.v3.rls_pb2 import RateLimitResponse
from ratelimitd.memo import Memo
from ratelimitd.model import MAX_UINT32, NEVER, Unit
from ratelimitd.policy.spec import Family

if TYPE_CHECKING:
    from ratelimitd.decision import Decision, Status

TEMPLATES = 4_096
"""Response shapes per generation of the cache."""

_OK = RateLimitResponse.OK
_OVER_LIMIT = RateLimitResponse.OVER_LIMIT
_RATE = RateLimitResponse.RateLimit
_UNITS = {
    Unit.SECOND: _RATE.SECOND,
    Unit.MINUTE: _RATE.MINUTE,
    Unit.HOUR: _RATE.HOUR,
    Unit.DAY: _RATE.DAY,
    Unit.WEEK: _RATE.WEEK,
    Unit.MONTH: _RATE.MONTH,
    Unit.YEAR: _RATE.YEAR,
}
_SECOND = 1_000_000
_LONGEST_DURATION = 315_576_000_000  # seconds; beyond 10,000 years a Duration is invalid

_X_RATELIMIT = Family.X_RATELIMIT  # looking a member up in its class costs as much as the test


class Responses:
    """Builds responses, remembering the parts that repeat."""

    def __init__(self, templates: int = TEMPLATES) -> None:
        self._memo: Memo[tuple[object, ...], RateLimitResponse] = Memo(templates)

    def of(self, decision: Decision) -> RateLimitResponse:
        """Return the message that says what was decided."""
        now, allowed, statuses, shown, listed, families, _, lease, _, _, _, _ = decision
        if not allowed:
            return self._denial(decision)
        # Windows end on whole seconds, so that within one second the answers which show the same
        # windows differ only in what remains, and in the lease. Others (leases, token buckets)
        # are told in seconds, but for that of the headers: such answers are built from nothing.
        if shown is not None and shown[5] % _SECOND:
            return _whole(decision)
        key: list[object] = [now // _SECOND, families, not lease]
        key += [standing[0] for standing in listed]
        for standing in (shown, *[status[1] for status in statuses]):
            if standing is None:
                key.append(None)
            else:
                reset_at = standing[5]
                if reset_at % _SECOND:
                    reset_at = -render.seconds_until(reset_at, now)  # below 0: no instant
                key += (standing[0], reset_at)
        return _with_remaining(self._copy(tuple(key), decision), decision)

    def _denial(self, decision: Decision) -> RateLimitResponse:
        """Return a denial: within a second, alike ones are the same message to the last byte.

        A flood of requests over their limit must not cost more than requests that pass.
        """
        told: list[object] = [decision.now // _SECOND, decision.families]
        told += (decision.refusal, decision.reason)
        standings = [status.standing for status in decision.statuses]
        for standing in (decision.shown, *standings, *decision.standings):
            if standing is None:
                told.append(None)
                continue
            limit, passes, _, after, retry_at, reset_at = standing
            if passes:
                retry_at = NEVER  # it is now, and nothing is told of it
            if (retry_at != NEVER and retry_at % _SECOND) or reset_at % _SECOND:
                return _whole(decision)
            told += (limit, passes, after, retry_at, reset_at)
        told += [status.passes for status in decision.statuses]
        return self._copy(tuple(told), decision)

    def _copy(self, key: tuple[object, ...], decision: Decision) -> RateLimitResponse:
        """Return a copy of the response made for the key before, or now from this decision."""
        template = self._memo.get(key) or self._memo.recall(key)
        if template is None:
            template = _whole(decision)
            self._memo.put(key, template)
        response = RateLimitResponse()
        response.CopyFrom(template)
        return response


def _with_remaining(response: RateLimitResponse, decision: Decision) -> RateLimitResponse:
    """Return an answer with what now remains."""
    _, _, statuses, shown, listed, families, _, lease, _, _, _, _ = decision
    messages = response.statuses
    for index, (_, standing) in enumerate(statuses):
        if standing is not None:
            left = standing.remaining
            messages[index].limit_remaining = left if left <= MAX_UINT32 else MAX_UINT32
    if shown is not None:
        headers = response.response_headers_to_add
        if _X_RATELIMIT in families:
            headers[1].value = str(shown.remaining)
        if listed:
            headers[-1].value = render.ietf_state(decision)
    if lease:
        response.dynamic_metadata.fields["lease"].string_value = lease
    return response


def _whole(decision: Decision) -> RateLimitResponse:
    """Build a response from nothing."""
    response = RateLimitResponse(
        overall_code=_OK if decision.allowed else _OVER_LIMIT,
        raw_body=render.body(decision).encode(),
        statuses=[_status(status, decision.now) for status in decision.statuses],
    )
    for name, value in render.headers(decision):
        response.response_headers_to_add.add(key=name, value=value)
    if decision.lease:
        response.dynamic_metadata["lease"] = decision.lease
    return response


def _status(status: Status, now: int) -> RateLimitResponse.DescriptorStatus:
    message = RateLimitResponse.DescriptorStatus(code=_OK if status.passes else _OVER_LIMIT)
    standing = status.standing
    if standing is not None:
        limit = standing.limit
        message.current_limit.requests_per_unit = min(limit.amount, MAX_UINT32)
        message.current_limit.name = limit.name
        unit = limit.window.unit if limit.window else None
        message.current_limit.unit = _UNITS[unit] if unit else _RATE.UNKNOWN
        message.limit_remaining = min(standing.remaining, MAX_UINT32)
        wait = render.seconds_until(standing.reset_at, now)
        message.duration_until_reset.seconds = min(wait, _LONGEST_DURATION)
    return message
