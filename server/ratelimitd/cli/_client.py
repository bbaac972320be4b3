"""Calls to a running limiter, for the commands that ask one.

Owns the connection and what its failures mean for a person. What is asked and answered is
`rpc.ask`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ratelimitd.errors import RateLimitdError, SettingsError, UnreachableError

if TYPE_CHECKING:
    import grpc

    from ratelimitd.rpc.ask import Answer
    from ratelimitd.settings import Address

TIMEOUT = 5.0
"""Seconds. A decision takes a millisecond; who waits longer is not answered."""

OPTIONS: tuple[tuple[str, Any], ...] = (
    # The limiter is where it was said to be: a proxy of the environment would not find it.
    ("grpc.enable_http_proxy", 0),
    # A channel of its own each time, not one shared with others of this process.
    ("grpc.use_local_subchannel_pool", 1),
)


def ask(target: Address, request: bytes) -> Answer:
    """Ask one question. Raises `UnreachableError`, and `SettingsError` for what is no question."""
    import grpc

    from ratelimitd.rpc.ask import METHOD, decode

    with grpc.insecure_channel(grpc_target(target), options=OPTIONS) as channel:
        try:
            call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
            return decode(call(request, timeout=TIMEOUT))
        except grpc.RpcError as error:
            raise failure(target, error) from error


def grpc_target(target: Address) -> str:
    """Return the target as gRPC spells it."""
    return f"unix:{target.path}" if target.path else str(target)


def failure(target: Address, error: grpc.RpcError) -> RateLimitdError:
    """Return what a failed call means for whoever made it."""
    import grpc

    code, details = error.code(), error.details() or ""
    if code in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED}:
        return SettingsError(f"the limiter refuses the question: {details}")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return UnreachableError(f"{target} answers, but it is no rate limiter")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return UnreachableError(f"{target} did not answer within {TIMEOUT:g} s")
    if code is grpc.StatusCode.UNAVAILABLE:
        return UnreachableError(
            f"nobody answers at {target} ({details}); is `ratelimitd serve` running there?"
        )
    return UnreachableError(f"{target} failed with {code.name}: {details}")
