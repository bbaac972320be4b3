"""Decisions as Envoy's response messages, in the bytes that travel.

What is said of a limit is the same within a second but for what is left of it: those parts are kept
in their bytes, and an answer is put together of them. (To parse a kept message, set its numbers and
serialize it costs as much as the decision.) What headers say is `render`'s.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from ratelimitd import render
from ratelimitd._gen.envoy.service.ratelimit.v3.rls_pb2 import RateLimitResponse
from ratelimitd.decision import Status
from ratelimitd.memo import Memo
from ratelimitd.model import MAX_COUNT, MAX_UINT32, NEVER, Limit, Standing, Unit
from ratelimitd.policy.spec import Family
from ratelimitd.rpc.response_wire import (
    FEW,
    HIGH,
    LOW,
    MANY,
    SMALL,
    before_values,
    begun,
    header,
    most,
)

if TYPE_CHECKING:
    from ratelimitd.decision import Decision

REMEMBERED = 2_048
"""Parts per generation of each cache; two generations. A status takes about 1 KB."""

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

_NUMBERS = (render.X_REMAINING, render.IETF_STATE)
_BEFORE_REMAINING = before_values(render.X_REMAINING, len(str(MAX_COUNT)))
_PASSES = RateLimitResponse(overall_code=_OK).SerializeToString()
_FREE = begun(RateLimitResponse.DescriptorStatus(code=_OK))[0]
"""The status of a descriptor that no limit applies to."""

_X_RATELIMIT = Family.X_RATELIMIT  # looking a member up in its class costs as much as the test


class Responses:
    """Builds responses, remembering the parts that repeat."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._statuses: Memo[tuple[Limit, int], tuple[bytes, ...]] = Memo(remembered)
        self._heads: Memo[tuple[object, ...], tuple[bytes, bytes]] = Memo(remembered)
        self._denials: Memo[tuple[object, ...], bytes] = Memo(remembered)

    def of(self, decision: Decision) -> bytes:
        """Return the message that says what was decided."""
        now, allowed, told, shown, _, _, _, lease, _, _, _, _, _ = decision
        if not allowed:
            return self._denial(decision)
        answer = _PASSES
        known = self._statuses.get
        for standing in told:
            if standing is None:
                answer += _FREE
                continue
            limit, _, _, after, _, reset_at = standing
            since = (now - reset_at) // _SECOND  # below 0: seconds until then
            status = known((limit, since)) or self._begun(limit, since)
            left = (limit.burst or limit.amount) - after  # `Standing.remaining`, but faster
            if left < FEW:
                said = SMALL[left] if left > 0 else b""
            elif left < MANY:
                said = LOW[left & 0x3FFF] + HIGH[left >> 14]
            else:
                said = most(left)
            answer += status[len(said)] + said
        if shown is not None:
            answer += self._headers(shown, decision)
        return answer + _granted(lease) if lease else answer

    def _begun(self, limit: Limit, since: int) -> tuple[bytes, ...]:
        """Return a status of an allowed call as it begins, by how long the field is that ends it.

        That is what is left; its limit is whole so many seconds ago.
        """
        key = limit, since
        found = self._statuses.recall(key)
        if found is None:
            status = _status(Status(True, Standing(limit, True, 0, 0, 0, -since * _SECOND)), 0)
            status.ClearField("limit_remaining")
            found = begun(status)
            self._statuses.put(key, found)
        return found

    def _headers(self, shown: Standing, decision: Decision) -> bytes:
        """Return the headers of an allowed call."""
        now, listed, families = decision[0], decision[4], decision[5]
        limit, reset_at = shown[0], shown[5]
        key: tuple[object, ...]
        key = families, limit, -reset_at // _SECOND, (now - reset_at) // _SECOND
        if listed:
            key += tuple([standing[0] for standing in listed])
        found = self._heads.get(key) or self._heads.recall(key)
        if found is None:
            found = _head(decision)
            self._heads.put(key, found)
        before, between = found
        if _X_RATELIMIT in families:
            text = b"%d" % shown.remaining
            before += _BEFORE_REMAINING[len(text)] + text
        if listed:
            between += header(render.IETF_STATE, render.ietf_state(decision))
        return before + between

    def _denial(self, decision: Decision) -> bytes:
        """Return a denial: within a second, alike ones are the same message to the last byte.

        A flood of requests over their limit must not cost more than requests that pass.
        """
        told: list[object] = [decision.now // _SECOND, decision.families, len(decision.told)]
        told += (decision.refusal, decision.reason, frozenset(decision.fails))
        for standing in (decision.shown, *decision.told, *decision.standings):
            if standing is None:
                told.append(None)
                continue
            limit, passes, _, after, retry_at, reset_at = standing
            if passes:
                retry_at = NEVER  # it is now, and nothing is told of it
            if (retry_at != NEVER and retry_at % _SECOND) or reset_at % _SECOND:
                return _whole(decision).SerializeToString()
            told += (limit, passes, after, retry_at, reset_at)
        key = tuple(told)
        answer = self._denials.get(key) or self._denials.recall(key)
        if answer is None:
            answer = _whole(decision).SerializeToString()
            self._denials.put(key, answer)
        return answer


def _head(decision: Decision) -> tuple[bytes, bytes]:
    """Return the headers before and behind `X-RateLimit-Remaining`, without `RateLimit`."""
    said = [header(*each) for each in render.headers(decision) if each[0] not in _NUMBERS]
    before = 1 if _X_RATELIMIT in decision.families else 0
    return b"".join(said[:before]), b"".join(said[before:])


def _granted(lease: str) -> bytes:
    """Return what tells the lease that was granted, to stand behind the message.

    Fields that stand behind a message belong to it: so it costs less than to set them.
    """
    return _before_lease(len(lease)) + lease.encode()


@lru_cache(16)
def _before_lease(length: int) -> bytes:
    """Return what stands before a lease's id of so many bytes in a message that says only that."""
    message = RateLimitResponse()
    message.dynamic_metadata["lease"] = "?" * length
    return message.SerializeToString()[:-length]


def _whole(decision: Decision) -> RateLimitResponse:
    """Build a response from nothing; without the lease."""
    response = RateLimitResponse(
        overall_code=_OK if decision.allowed else _OVER_LIMIT,
        raw_body=render.body(decision).encode(),
        statuses=[_status(status, decision.now) for status in decision.statuses],
    )
    for name, value in render.headers(decision):
        response.response_headers_to_add.add(key=name, value=value)
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
