"""Decisions as LimiterService's messages: the verdict, every limit's state, and what customers see.

Headers and body are `render`'s, the same that Envoy is told. Owns how instants and waits are told.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from ratelimitd import render
from ratelimitd._gen.ratelimitd.v1 import limiter_pb2
from ratelimitd.model import NEVER, Kind
from ratelimitd.stores.stacking import identity_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ratelimitd.decision import Decision
    from ratelimitd.model import Op, Standing
    from ratelimitd.reservations.keeper import Ticket

_SECOND = 1_000_000
_LAST = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()) * _SECOND
"""The last instant of a Timestamp, in whole seconds."""


def instant(at: int) -> Timestamp:
    """Return an instant of ours, microseconds since the epoch."""
    at = min(at, _LAST)
    return Timestamp(seconds=at // _SECOND, nanos=at % _SECOND * 1000)


def length(microseconds: int) -> Duration:
    """Return a length of time."""
    return Duration(seconds=microseconds // _SECOND, nanos=microseconds % _SECOND * 1000)


def decision(decided: Decision) -> limiter_pb2.Decision:
    """Return the message that says what was decided."""
    told = limiter_pb2.Decision(
        allowed=decided.allowed,
        reason=_reason(decided),
        limits=limits(decided.ops, decided.every, decided.now),
        body=render.body(decided),
    )
    for name, value in render.headers(decided):
        told.headers.add(name=name, value=value)
    if decided.now:
        told.decided_at.CopyFrom(instant(decided.now))
    if not decided.allowed:
        told.message = render.message(decided)
        wait = render.retry_after(decided)
        if wait is not None:
            told.retry_after.seconds = wait
    return told


def _reason(decided: Decision) -> limiter_pb2.Reason:
    if decided.allowed:
        return limiter_pb2.REASON_UNSPECIFIED
    if decided.refusal:
        return limiter_pb2.REASON_KEY_REFUSED
    if decided.shown is None:
        return limiter_pb2.REASON_STORE_UNAVAILABLE
    never = decided.shown.retry_at == NEVER
    return limiter_pb2.REASON_EXCEEDS_LIMIT if never else limiter_pb2.REASON_OVER_LIMIT


def limits(
    ops: Sequence[Op], standings: Iterable[Standing], now: int
) -> list[limiter_pb2.LimitState]:
    """Return how each limit stands, once each: as the last operation on its counter leaves it."""
    states: dict[tuple[str, bytes], limiter_pb2.LimitState] = {}
    for op, standing in zip(ops, standings, strict=False):  # no standings where none were asked
        state = states.setdefault(identity_of(op), limiter_pb2.LimitState())
        _tell(state, op, standing, now)
    return list(states.values())


def _tell(state: limiter_pb2.LimitState, op: Op, standing: Standing, now: int) -> None:
    limit = standing.limit
    state.name, state.meter, state.shadow = limit.name, limit.meter.name, limit.shadow
    state.limit, state.used, state.remaining = limit.capacity, standing.after, standing.remaining
    state.reset_at.CopyFrom(instant(standing.reset_at))
    if standing.passes or op.kind > Kind.PEEK:
        return
    state.denied = True
    if standing.retry_at != NEVER:
        wait = max(1, render.seconds_until(standing.retry_at, now))
        state.retry_after.seconds = max(wait, state.retry_after.seconds)


def reservation(ticket: Ticket) -> limiter_pb2.Reservation:
    """Return a reservation that was granted just now."""
    return limiter_pb2.Reservation(
        id=ticket.text, expires_at=instant(ticket.expires_at), lasts=length(ticket.lasts_us)
    )


def lease(name: str, ops: Iterable[Op], now: int) -> limiter_pb2.Lease:
    """Return a lease that these operations acquired or renewed just now."""
    lasts = min(op.limit.meter.lease_us for op in ops)
    return limiter_pb2.Lease(id=name, expires_at=instant(now + lasts), lasts=length(lasts))
