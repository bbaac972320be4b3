"""Decisions as Envoy's response messages.

Most of a response is the same whenever the same limits are shown: those parts are built once, and
each answer is a copy in which the numbers are set. Owns the templates; what headers say is
`render`'s.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from ratelimitd import render
from ratelimitd._gen.envoy.service.ratelimit.v3.rls_pb2 import RateLimitResponse
from ratelimitd.memo import Memo
from ratelimitd.model import MAX_UINT32, NEVER, Unit
from ratelimitd.policy.spec import Family

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        self._memo: Memo[tuple[object, ...], tuple[bytes, Sequence[int]]] = Memo(templates)

    def of(self, decision: Decision) -> RateLimitResponse:
        """Return the message that says what was decided."""
        now, allowed, statuses, shown, listed, families, _, _, _, _, _, _ = decision
        if not allowed:
            return self._denial(decision)
        # Windows end on whole seconds, so that within one second the answers which show the same
        # windows differ only in what remains, and in the lease. Others (leases, token buckets)
        # are told in seconds, but for that of the headers: such answers are built from nothing.
        key: list[object] = [now // _SECOND, families]
        if listed:
            key += [standing[0] for standing in listed]
        if shown is None:
            key.append(None)
        else:
            if shown[5] % _SECOND:
                return _whole(decision)
            key += (shown[0], shown[5])
        left: list[int] = []
        for _, standing in statuses:
            if standing is None:
                key.append(None)
                left.append(0)
                continue
            limit, _, _, after, _, reset_at = standing
            if reset_at % _SECOND:
                reset_at = min((now - reset_at) // _SECOND, 0)  # seconds, below 0: no instant
            key.append(limit)
            key.append(reset_at)
            left.append((limit.burst or limit.amount) - after)  # `Standing.remaining`, but faster
        response, before = self._copy(tuple(key), decision, left)
        return _with_remaining(response, left, before, decision)

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
        return self._copy(tuple(told), decision, ())[0]

    def _copy(
        self, key: tuple[object, ...], decision: Decision, left: Sequence[int]
    ) -> tuple[RateLimitResponse, Sequence[int]]:
        """Return a copy of the response made for the key before, or now from this decision.

        And what was left then to each descriptor.
        """
        template = self._memo.get(key) or self._memo.recall(key)
        if template is None:
            template = _whole(decision._replace(lease="")).SerializeToString(), left
            self._memo.put(key, template)
        wire, before = template
        if decision.lease:
            lease = decision.lease.encode()
            wire += _before_lease(len(lease)) + lease
        return RateLimitResponse.FromString(wire), before


@lru_cache(16)
def _before_lease(length: int) -> bytes:
    """Return what stands before a lease's id of so many bytes in a message that says only that.

    Fields that stand behind a message belong to it: so it costs less than to set them.
    """
    message = RateLimitResponse()
    message.dynamic_metadata["lease"] = "?" * length
    return message.SerializeToString()[:-length]


def _with_remaining(
    response: RateLimitResponse, left: Sequence[int], before: Sequence[int], decision: Decision
) -> RateLimitResponse:
    """Return an answer with what is left now to each descriptor: below 0 where it is in debt.

    `before`: what the answer says already, which is the same for a peek that nobody charged.
    """
    _, _, _, shown, listed, families, _, _, _, _, _, _ = decision
    messages = response.statuses
    for index, remaining in enumerate(left):
        if remaining != before[index]:
            said = remaining if remaining > 0 else 0
            messages[index].limit_remaining = said if said <= MAX_UINT32 else MAX_UINT32
    if shown is not None:
        headers = response.response_headers_to_add
        if _X_RATELIMIT in families:
            headers[1].value = str(shown.remaining)
        if listed:
            headers[-1].value = render.ietf_state(decision)
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
