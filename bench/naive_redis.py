"""The yardstick with a shared store: the naive servicer with one EVALSHA a call, by redis-py.

FROZEN, as `bench.naive` is, of which it differs in where it counts: three fixed windows per key in
one Lua script a call, as one would write it by hand: no batches, no give-back, no failure policy.

Run as `python -m bench.naive_redis PORT URL`; prints its address when it listens.
"""

from __future__ import annotations

import sys
import time

import grpc.aio
import redis.asyncio
import uvloop
from google.protobuf.duration_pb2 import Duration

from bench.naive import LIMITS, OK, OVER_LIMIT, SHOWN
from ratelimitd._gen.envoy.config.core.v3.base_pb2 import HeaderValue
from ratelimitd._gen.envoy.service.ratelimit.v3 import rls_pb2, rls_pb2_grpc

COUNT = """
local used = {}
for index, key in ipairs(KEYS) do
  used[index] = redis.call('INCRBY', key, ARGV[1])
  if used[index] == tonumber(ARGV[1]) then redis.call('EXPIRE', key, ARGV[index + 1]) end
end
return used
"""


class NaiveServicer(rls_pb2_grpc.RateLimitServiceServicer):
    """Counts in Redis and answers, each time anew."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self.count = client.register_script(COUNT)

    async def ShouldRateLimit(
        self, request: rls_pb2.RateLimitRequest, context: object
    ) -> rls_pb2.RateLimitResponse:
        """Decide one call."""
        del context
        now = time.time()
        entries = {entry.key: entry.value for entry in request.descriptors[0].entries}
        key = entries.get("api_key", "").removeprefix("Bearer ")
        keys = [f"naive:{key}:{name}:{int(now // length)}" for name, length, _, _ in LIMITS]
        hits = request.hits_addend or 1
        lengths = [length for _, length, _, _ in LIMITS]
        used = await self.count(keys=keys, args=[hits, *lengths])
        denied = any(count > limit[2] for count, limit in zip(used, LIMITS, strict=True))
        name, length, amount, unit = LIMITS[SHOWN]
        remaining = max(0, amount - used[SHOWN])
        reset = (int(now // length) + 1) * length
        code = OVER_LIMIT if denied else OK
        limit = rls_pb2.RateLimitResponse.RateLimit(name=name, requests_per_unit=amount, unit=unit)
        status = rls_pb2.RateLimitResponse.DescriptorStatus(
            code=code,
            current_limit=limit,
            limit_remaining=remaining,
            duration_until_reset=Duration(seconds=int(reset - now)),
        )
        return rls_pb2.RateLimitResponse(
            overall_code=code,
            statuses=[status],
            response_headers_to_add=[
                HeaderValue(key="X-RateLimit-Limit", value=str(amount)),
                HeaderValue(key="X-RateLimit-Remaining", value=str(remaining)),
                HeaderValue(key="X-RateLimit-Reset", value=str(reset)),
                HeaderValue(key="X-RateLimit-Reset-After", value=str(int(reset - now))),
            ],
        )


async def serve(port: int, url: str) -> None:
    """Serve until killed."""
    server = grpc.aio.server()
    client = redis.asyncio.from_url(url)
    rls_pb2_grpc.add_RateLimitServiceServicer_to_server(NaiveServicer(client), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    print(f"ready 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), sys.argv[2]))
