"""What a decision costs from bytes in to bytes out, without any transport.

The yardstick is what no limiter can save: parsing that request, and building and serializing that
response with the generated classes, as one writes it by hand.
"""

from __future__ import annotations

import asyncio
import timeit
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from bench import request
from ratelimitd._gen.envoy.config.core.v3.base_pb2 import HeaderValue
from ratelimitd._gen.envoy.service.ratelimit.v3.rls_pb2 import RateLimitRequest, RateLimitResponse
from ratelimitd.app import Service
from ratelimitd.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

_CALLS = 20_000
_ROUNDS = 7


class InProcess(NamedTuple):
    """Microseconds a call, medians of alternating rounds."""

    decision: float
    yardstick: float
    ratio: float
    """The median of the rounds' own ratios."""


def measure() -> InProcess:
    """Time both in alternating rounds."""
    decide = asyncio.run(_decide())
    wire = request.message().SerializeToString()
    answer = RateLimitResponse.FromString(decide(wire))
    yardstick = _same_work(answer, wire)
    if RateLimitResponse.FromString(yardstick()) != answer:
        msg = "the yardstick builds another response"
        raise RuntimeError(msg)
    rounds = [(_time(lambda: decide(wire)), _time(yardstick)) for _ in range(_ROUNDS)]
    return InProcess(
        median(ours for ours, _ in rounds),
        median(theirs for _, theirs in rounds),
        median(ours / theirs for ours, theirs in rounds),
    )


async def _decide() -> Callable[[bytes], bytes]:
    """Return the RateLimitService's method as bytes to bytes."""
    service = Service(Settings(policy=Path(__file__).with_name("policy.yaml")))
    await service.prepare()
    return decide_with(service)


def decide_with(service: Service) -> Callable[[bytes], bytes]:
    """Return the same of a service that counts in memory."""
    method = service.handlers.paths()[request.PATH]

    def decide(wire: bytes) -> bytes:
        call = method.behavior(method.parse(wire), None)
        try:
            call.send(None)
        except StopIteration as done:
            return method.serialize(done.value)
        msg = "a decision from memory waited"
        raise RuntimeError(msg)

    return decide


def _same_work(answer: RateLimitResponse, wire: bytes) -> Callable[[], bytes]:
    """Return a function that does the yardstick's work with the answer's own values."""
    status = answer.statuses[0]
    limit = status.current_limit
    code, remaining = status.code, status.limit_remaining
    name, amount, unit = limit.name, limit.requests_per_unit, limit.unit
    seconds = status.duration_until_reset.seconds
    (k1, v1), (k2, v2), (k3, v3), (k4, v4) = (
        (header.key, header.value) for header in answer.response_headers_to_add
    )
    overall: Any = answer.overall_code

    def work() -> bytes:
        RateLimitRequest.FromString(wire)
        return RateLimitResponse(
            overall_code=overall,
            statuses=[
                RateLimitResponse.DescriptorStatus(
                    code=code,
                    current_limit=RateLimitResponse.RateLimit(
                        name=name, requests_per_unit=amount, unit=unit
                    ),
                    limit_remaining=remaining,
                    duration_until_reset={"seconds": seconds},
                )
            ],
            response_headers_to_add=[
                HeaderValue(key=k1, value=v1),
                HeaderValue(key=k2, value=v2),
                HeaderValue(key=k3, value=v3),
                HeaderValue(key=k4, value=v4),
            ],
        ).SerializeToString()

    return work


def _time(work: Callable[[], bytes]) -> float:
    return min(timeit.repeat(work, number=_CALLS // 5, repeat=5)) / (_CALLS // 5) * 1e6
