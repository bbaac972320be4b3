"""The yardstick: a limiter as one would write it by hand on `grpc.aio`, on uvloop.

FROZEN. Figures in docs and ADRs are ratios to this servicer; changing it would change them all. It
counts three fixed windows per API key in a dictionary and answers with four headers, like the tier
that is measured, without policies, plans, all-or-nothing across descriptors, or bounds.

Run as `python -m bench.naive PORT`; prints its address when it listens.
"""

from __future__ import annotations

import sys
import time

import grpc
import grpc.aio
import uvloop
from google.protobuf.duration_pb2 import Duration

from ratelimitd._gen.envoy.config.core.v3.base_pb2 import HeaderValue
from ratelimitd._gen.envoy.service.ratelimit.v3 import rls_pb2, rls_pb2_grpc

LIMITS = (
    ("requests/minute", 60, 100_000_000, rls_pb2.RateLimitResponse.RateLimit.MINUTE),
    ("requests/hour", 3600, 1_000_000_000, rls_pb2.RateLimitResponse.RateLimit.HOUR),
    ("requests/day", 86_400, 2_000_000_000, rls_pb2.RateLimitResponse.RateLimit.DAY),
)
SHOWN = 1
OK = rls_pb2.RateLimitResponse.OK
OVER_LIMIT = rls_pb2.RateLimitResponse.OVER_LIMIT


class NaiveServicer(rls_pb2_grpc.RateLimitServiceServicer):
    """Counts and answers, each time anew."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str, int], int] = {}

    async def ShouldRateLimit(
        self, request: rls_pb2.RateLimitRequest, context: object
    ) -> rls_pb2.RateLimitResponse:
        """Decide one call."""
        del context
        now = time.time()
        statuses = []
        denied = False
        for descriptor in request.descriptors:
            entries = {entry.key: entry.value for entry in descriptor.entries}
            key = entries.get("api_key", "").removeprefix("Bearer ")
            over, shown, status = self.count(key, request.hits_addend or 1, now)
            denied = denied or over
            statuses.append(status)
        amount, remaining, reset = shown
        return rls_pb2.RateLimitResponse(
            overall_code=OVER_LIMIT if denied else OK,
            statuses=statuses,
            response_headers_to_add=[
                HeaderValue(key="X-RateLimit-Limit", value=str(amount)),
                HeaderValue(key="X-RateLimit-Remaining", value=str(remaining)),
                HeaderValue(key="X-RateLimit-Reset", value=str(reset)),
                HeaderValue(key="X-RateLimit-Reset-After", value=str(int(reset - now))),
            ],
        )

    def count(
        self, key: str, hits: int, now: float
    ) -> tuple[bool, tuple[int, int, int], rls_pb2.RateLimitResponse.DescriptorStatus]:
        """Count a key's hits in all windows; return whether one is over, and what to show."""
        denied = False
        for index, (name, length, amount, unit) in enumerate(LIMITS):
            window = int(now // length)
            used = self.counts.get((key, name, window), 0) + hits
            over = used > amount
            denied = denied or over
            if not over:
                self.counts[key, name, window] = used
            if index == SHOWN or over:
                shown = (amount, max(0, amount - used), (window + 1) * length)
                status = rls_pb2.RateLimitResponse.DescriptorStatus(
                    code=OVER_LIMIT if over else OK,
                    current_limit=rls_pb2.RateLimitResponse.RateLimit(
                        name=name, requests_per_unit=amount, unit=unit
                    ),
                    limit_remaining=shown[1],
                    duration_until_reset=Duration(seconds=int(shown[2] - now)),
                )
        return denied, shown, status


async def serve(port: int) -> None:
    """Serve until killed."""
    server = grpc.aio.server()
    rls_pb2_grpc.add_RateLimitServiceServicer_to_server(NaiveServicer(), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    print(f"ready 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
