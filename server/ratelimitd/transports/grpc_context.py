"""What a servicer sees of its call on the ASGI transports, and how failures become statuses.

The part of `grpc.aio.ServicerContext` that unary and streaming servicers use. Knows gRPC's statuses
and the writer it was given; no sockets, no ASGI.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import grpc

from ratelimitd.clock import steady_ns
from ratelimitd.telemetry import log_failure
from ratelimitd.transports import grpc_wire as wire
from ratelimitd.transports.failures import DETAILS, FAILED
from ratelimitd.transports.patience import DeadlineError, StoppedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    Metadata = Iterable[Sequence[str | bytes]]

T = TypeVar("T")
_OK = grpc.StatusCode.OK  # looking a member up in its class costs as much as comparing it


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
        "_lost",
        "_trailing",
        "initial",
        "writer",
    )

    def __init__(self, headers: Iterable[wire.Pair], deadline: int | None) -> None:
        self._headers = headers
        self._deadline = deadline
        self._code = _OK
        self._details = ""
        self._trailing: list[wire.Pair] = []
        self._done: list[Callable[[Context], Any]] | None = None
        self._lost: tuple[Callable[[Any], object], object] | None = None
        self.initial: list[wire.Pair] = []
        """Response headers the servicer asked for."""
        self.writer: Callable[[Any], Awaitable[None]] | None = None
        """Sends one message of a streamed response. For the transport, which takes it back."""

    async def write(self, message: object) -> None:
        """Send one message of a streamed response."""
        if self.writer is None:
            msg = f"a unary response is returned, not written: {type(message).__name__}"
            raise RuntimeError(msg)
        await self.writer(message)

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()
    ) -> NoReturn:
        """End the call with a status; OK is none to abort with."""
        self._code = grpc.StatusCode.UNKNOWN if code is grpc.StatusCode.OK else code
        self._details = details
        self._trailing += wire.encode_metadata(trailing_metadata)
        raise AbortedError

    def set_code(self, code: grpc.StatusCode) -> None:
        """Set the status the call ends with."""
        self._code = code

    def set_details(self, details: str) -> None:
        """Set the status message the call ends with."""
        self._details = details

    @property
    def is_ok(self) -> bool:
        """Whether no other status was set. For the transport."""
        return self._code is _OK

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

    def lose(self) -> None:
        """Say that the answer did not reach the caller. For the transport."""
        if self._code is _OK:
            self._code = grpc.StatusCode.CANCELLED
            if self._lost is not None:
                _run(*self._lost)

    def when_lost(self, callback: Callable[[T], object], told: T) -> None:
        """Call back with this if the answer does not reach the caller. For one such callback.

        What a done callback and `cancelled` would tell costs as much as some decisions.
        """
        assert self._lost is None
        self._lost = callback, told

    def cancelled(self) -> bool:
        """Return whether the call ended without its answer, as far as the transport can tell."""
        return self._code is grpc.StatusCode.CANCELLED

    def add_done_callback(self, callback: Callable[[Context], Any]) -> None:
        """Call back when the call has ended, however it ended."""
        if self._done is None:
            self._done = []
        self._done.append(callback)

    def finished(self) -> None:
        """Run the done callbacks; one that fails keeps none of the others. For the transport."""
        for callback in self._done or ():
            _run(callback, self)

    def trailers(self) -> list[wire.Pair]:
        """Return the call's trailers. For the transport."""
        return wire.status_pairs(self._code, self._details, self._trailing)


def _run(callback: Callable[[T], object], told: T) -> None:
    try:
        callback(told)
    except Exception as error:  # noqa: BLE001 - the call has ended, whatever this does
        log_failure(error, "a done callback failed")


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
    if isinstance(error, DeadlineError):
        return wire.status_pairs(grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline has passed")
    if isinstance(error, StoppedError):
        return wire.status_pairs(grpc.StatusCode.UNAVAILABLE, "the server is stopping")
    log_failure(error, FAILED)
    return wire.status_pairs(grpc.StatusCode.UNKNOWN, DETAILS)
