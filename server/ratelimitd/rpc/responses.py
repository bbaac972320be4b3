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
from ratelimitd.model import MAX_UINT32, Unit
from ratelimitd.policy.spec import Family

if TYPE_CHECKING:
    from ratelimitd.decision import Decision, Status
    from ratelimitd.model import Limit, Standing

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

Shape = tuple["Limit | None", ...]
"""The limit whose headers are shown, then the one of each status."""


class Responses:
    """Builds responses, remembering the parts that repeat."""

    def __init__(self, templates: int = TEMPLATES) -> None:
        self._memo: Memo[Shape, RateLimitResponse] = Memo(templates)

    def of(self, decision: Decision) -> RateLimitResponse:
        """Return the message that says what was decided."""
        if decision.allowed and decision.families == (Family.X_RATELIMIT,):
            return self._repeated(decision)
        return _whole(decision)

    def _repeated(self, decision: Decision) -> RateLimitResponse:
        """Answer an allowed call with a filled-in copy of an earlier answer's shape."""
        now, _, statuses, shown, _, _, _, lease = decision
        limits = [status[1] and status[1].limit for status in statuses]
        shape = (shown and shown.limit, *limits)
        template = self._memo.get(shape) or self._memo.recall(shape)
        if template is None:
            template = _whole(decision)
            template.ClearField("dynamic_metadata")
            self._memo.put(shape, template)
        response = RateLimitResponse()
        response.CopyFrom(template)
        for message, (_, standing) in zip(response.statuses, statuses):  # noqa: B905 - as many, hot
            if standing is not None:
                _fill(message, standing, now)
        if shown is not None:
            headers = response.response_headers_to_add
            headers[1].value, headers[2].value, headers[3].value = render.x_ratelimit(shown, now)
        if lease:
            response.dynamic_metadata["lease"] = lease
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
        _fill(message, standing, now)
    return message


def _fill(message: RateLimitResponse.DescriptorStatus, standing: Standing, now: int) -> None:
    """Set the numbers that change from answer to answer."""
    remaining = standing.remaining
    message.limit_remaining = remaining if remaining <= MAX_UINT32 else MAX_UINT32
    seconds, rest = divmod(standing.reset_at - now, _SECOND)
    duration = message.duration_until_reset
    duration.seconds = seconds if seconds > 0 else 0
    duration.nanos = rest * 1000 if seconds >= 0 else 0
