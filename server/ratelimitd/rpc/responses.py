"""Decisions as Envoy's response messages, in the bytes that travel.

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

    def of(self, decision: Decision) -> bytes:
        """Return the message that says what was decided."""
        now, allowed, told, shown, listed, families, _, lease, _, _, _, _, _ = decision
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
                return _whole(decision) + _granted(lease)
            key += (shown[0], shown[5])
        left: list[int] = []
        for standing in told:
            if standing is None:
                key.append(None)
                left.append(0)
                continue
            limit, _, _, after, _, reset_at = standing
            if reset_at % _SECOND:
                reset_at = min((now - reset_at) // _SECOND, 0)  # seconds, below 0: no instant
            key += (limit, reset_at)
            left.append((limit.burst or limit.amount) - after)  # `Standing.remaining`, but faster
        wire, before = self._template(tuple(key), decision, left)
        if shown is not None or left != before:
            wire = _with_remaining(wire, left, before, decision)
        return wire + _granted(lease) if lease else wire

    def _denial(self, decision: Decision) -> bytes:
        """Return a denial: within a second, alike ones are the same message to the last byte.

        A flood of requests over their limit must not cost more than requests that pass.
        """
        told: list[object] = [decision.now // _SECOND, decision.families]
        told += (decision.refusal, decision.reason, frozenset(decision.fails))
        for standing in (decision.shown, *decision.told, *decision.standings):
            if standing is None:
                told.append(None)
                continue
            limit, passes, _, after, retry_at, reset_at = standing
            if passes:
                retry_at = NEVER  # it is now, and nothing is told of it
            if (retry_at != NEVER and retry_at % _SECOND) or reset_at % _SECOND:
                return _whole(decision)
            told += (limit, passes, after, retry_at, reset_at)
        return self._template(tuple(told), decision, ())[0]

    def _template(
        self, key: tuple[object, ...], decision: Decision, left: Sequence[int]
    ) -> tuple[bytes, Sequence[int]]:
        """Return the message made for the key before, or now from this decision.

        And what was left then to each descriptor.
        """
        template = self._memo.get(key) or self._memo.recall(key)
        if template is None:
            template = _whole(decision), left
            self._memo.put(key, template)
        return template


def _granted(lease: str) -> bytes:
    """Return what tells the lease that was granted, to stand behind the message.

    Fields that stand behind a message belong to it: so it costs less than to set them.
    """
    return _before_lease(len(lease)) + lease.encode() if lease else b""


@lru_cache(16)
def _before_lease(length: int) -> bytes:
    """Return what stands before a lease's id of so many bytes in a message that says only that."""
    message = RateLimitResponse()
    message.dynamic_metadata["lease"] = "?" * length
    return message.SerializeToString()[:-length]


def _with_remaining(
    wire: bytes, left: Sequence[int], before: Sequence[int], decision: Decision
) -> bytes:
    """Return a message with what is left now to each descriptor: nothing where it is in debt.

    `before`: what it says already, which is the same for a peek that nobody charged.
    """
    response = RateLimitResponse.FromString(wire)
    messages = response.statuses
    for index, remaining in enumerate(left):
        if remaining != before[index]:
            said = remaining if remaining > 0 else 0
            messages[index].limit_remaining = said if said <= MAX_UINT32 else MAX_UINT32
    shown = decision[3]
    if shown is not None:
        headers = response.response_headers_to_add
        if _X_RATELIMIT in decision[5]:
            headers[1].value = str(shown.remaining)
        if decision[4]:
            headers[-1].value = render.ietf_state(decision)
    return response.SerializeToString()


def _whole(decision: Decision) -> bytes:
    """Build a response from nothing; without the lease."""
    response = RateLimitResponse(
        overall_code=_OK if decision.allowed else _OVER_LIMIT,
        raw_body=render.body(decision).encode(),
        statuses=[_status(status, decision.now) for status in decision.statuses],
    )
    for name, value in render.headers(decision):
        response.response_headers_to_add.add(key=name, value=value)
    return response.SerializeToString()


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
