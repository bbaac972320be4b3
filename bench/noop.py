"""The product's default transport with a decision that does nothing: what the transport costs."""

from __future__ import annotations

import asyncio

import uvloop

from ratelimitd._gen.envoy.service.ratelimit.v3 import rls_pb2, rls_pb2_grpc
from ratelimitd.transports.grpc_asgi import GrpcApplication
from ratelimitd.transports.h2corn import H2corn, grpc_config
from ratelimitd.transports.handlers import Handlers


class NoopServicer(rls_pb2_grpc.RateLimitServiceServicer):
    """Allows everything."""

    async def ShouldRateLimit(
        self, request: rls_pb2.RateLimitRequest, context: object
    ) -> rls_pb2.RateLimitResponse:
        """Allow."""
        del request, context
        return rls_pb2.RateLimitResponse(overall_code=rls_pb2.RateLimitResponse.OK)


async def serve() -> None:
    """Serve until interrupted."""
    handlers = Handlers()
    rls_pb2_grpc.add_RateLimitServiceServicer_to_server(NoopServicer(), handlers)
    config = grpc_config(("127.0.0.1:0",), handlers.services)
    addresses = await H2corn(GrpcApplication(handlers.paths()), config).start()
    print(f"ready {addresses[0]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve())
