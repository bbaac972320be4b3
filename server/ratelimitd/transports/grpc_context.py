"""What a servicer sees of its call on the ASGI transports, and how failures become statuses.

The part of `grpc.aio.ServicerContext` that unary and streaming servicers use. Knows gRPC's statuses
and the writer it was given; no sockets, no ASGI.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NoReturn

import grpc

from ratelimitd.clock import steady_ns
from ratelimitd.transports import grpc_wire as wire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    Metadata = Iterable[Sequence[str | bytes]]


_LOG = logging.getLogger(__name__)


class AbortedError(Exception):
    """Expected: a servicer ended its call with a status; the context holds it."""


class Context:
    """One call. Everything optional is made when asked for: most calls ask for nothing."""

    __slots__ = (
        "_code",
        "_deadline",
        "_details",
        "_done",
        "_headers",
        "_trailing",
        "initial",
        "write",
    )

    def __init__(self, headers: Iterable[wire.Pair], deadline: int | None) -> None:
        self._headers = headers
        self._deadline = deadline
        self._code = grpc.StatusCode.OK
        self._details = ""
        self._trailing: list[wire.Pair] = []
        self._done: list[Callable[[Context], Any]] = []
        self.initial: list[wire.Pair] = []
        """Response headers the servicer asked for."""
        self.write: Callable[[Any], Awaitable[None]] = self._no_stream
        """Send one message of a streamed response."""

    async def _no_stream(self, message: object) -> None:
        msg = f"a unary response is returned, not written: {type(message).__name__}"
        raise RuntimeError(msg)

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()
    ) -> NoReturn:
        """End the call with a status."""
        self._code = code
        self._details = details
        self._trailing += wire.encode_metadata(trailing_metadata)
        raise AbortedError

    def set_code(self, code: grpc.StatusCode) -> None:
        """Set the status the call ends with."""
        self._code = code

    def set_details(self, details: str) -> None:
        """Set the status message the call ends with."""
        self._details = details

    def code(self) -> grpc.StatusCode:
        """Return the status set so far."""
        return self._code

    def details(self) -> str:
        """Return the status message set so far."""
        return self._details

    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """Return the caller's custom metadata."""
        return wire.decode_metadata(self._headers)

    async def send_initial_metadata(self, metadata: Metadata) -> None:
        """Add response headers; they leave with the first message or the status."""
        self.initial += wire.encode_metadata(metadata)

    def set_trailing_metadata(self, metadata: Metadata) -> None:
        """Set the trailers that go with the status."""
        self._trailing = wire.encode_metadata(metadata)

    def time_remaining(self) -> float | None:
        """Return the seconds until the caller's deadline; None without one."""
        if self._deadline is None:
            return None
        return max(0.0, (self._deadline - steady_ns()) / 1e9)

    def add_done_callback(self, callback: Callable[[Context], Any]) -> None:
        """Call back when the call has ended, however it ended."""
        self._done.append(callback)

    def finished(self) -> None:
        """Run the done callbacks. For the transport."""
        for callback in self._done:
            callback(self)

    def trailers(self) -> list[wire.Pair]:
        """Return the call's trailers. For the transport."""
        return wire.status_pairs(self._code, self._details, self._trailing)


def status_of(error: Exception, context: Context) -> list[wire.Pair]:
    """Return the trailers that an exception ends its call with."""
    if isinstance(error, AbortedError):
        return context.trailers()
    if isinstance(error, wire.CompressedError):
        accept = [(b"grpc-accept-encoding", b"identity")]
        return wire.status_pairs(grpc.StatusCode.UNIMPLEMENTED, str(error), accept)
    if isinstance(error, wire.OversizedError):
        return wire.status_pairs(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
    if isinstance(error, wire.MalformedError):
        return wire.status_pairs(grpc.StatusCode.INTERNAL, str(error))
    if isinstance(error, TimeoutError):
        return wire.status_pairs(grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline has passed")
    if isinstance(error, ConnectionError):
        return wire.status_pairs(grpc.StatusCode.CANCELLED, "the caller has gone")
    _LOG.error("a servicer failed", exc_info=error)
    return wire.status_pairs(grpc.StatusCode.UNKNOWN, "internal error")
