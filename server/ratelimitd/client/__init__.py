"""The client for other services: asks a running limiter over gRPC, from threads or from asyncio.

Needs grpcio and protobuf, and nothing else of this package but the generated messages. What an
ASGI application puts around itself is `ratelimitd.client.asgi`. docs/client.md shows all of it.
"""

from ratelimitd.client.aio import AsyncLimiter
from ratelimitd.client.backoff import Backoff
from ratelimitd.client.errors import (
    DeniedError,
    InvalidCallError,
    LimiterAwayError,
    LimiterError,
    ReservationExpiredError,
)
from ratelimitd.client.sync import Limiter
from ratelimitd.client.values import Ask, Decision, Lease, LimitState, Reservation, Settlement

__all__ = [
    "Ask",
    "AsyncLimiter",
    "Backoff",
    "Decision",
    "DeniedError",
    "InvalidCallError",
    "Lease",
    "LimitState",
    "Limiter",
    "LimiterAwayError",
    "LimiterError",
    "Reservation",
    "ReservationExpiredError",
    "Settlement",
]
