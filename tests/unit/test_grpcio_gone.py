"""On grpcio, a caller who leaves while the answer is sent is nobody's failure."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NoReturn

import grpc.aio
import pytest

from ratelimitd.transports.grpcio import _guarded
from ratelimitd.transports.handlers import Method

if TYPE_CHECKING:
    from collections.abc import Callable


class Gone:
    """A call of which nothing can be sent any more. grpcio takes one abort, and no second."""

    def __init__(self) -> None:
        self.aborts = 0

    async def abort(self, code: grpc.StatusCode, details: str = "") -> NoReturn:
        """Fail as grpcio does."""
        del code, details
        self.aborts += 1
        raise grpc.aio.InternalError


async def denies(request: object, context: Any) -> None:  # noqa: ANN401 - a servicer's
    """Answer with a status."""
    del request
    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")


async def fails(request: object, context: object) -> None:
    """Have a fault of its own."""
    del request, context
    raise ZeroDivisionError


def unreadable(wire: bytes) -> NoReturn:
    """Read no request."""
    raise ValueError(wire)


@pytest.mark.parametrize(
    ("behavior", "parse", "logged"),
    [(denies, bytes, 0), (denies, unreadable, 0), (fails, bytes, 1)],
)
async def test_it_ends_as_a_cancelled_call(
    behavior: Callable[[Any, Any], Any],
    parse: Callable[[bytes], Any],
    logged: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One status is tried, and what is told of is the servicer's own failure alone."""
    context = Gone()
    method = Method(behavior, parse, bytes, request_streaming=False, response_streaming=False)
    with pytest.raises(asyncio.CancelledError):
        await _guarded(method)(b"", context)
    assert context.aborts == 1
    assert len(caplog.records) == logged
