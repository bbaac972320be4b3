"""Exceptions and gRPC statuses: one table, which knows every exception of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import grpc
import pytest

from ratelimitd import errors
from ratelimitd.errors import RateLimitdError, StoreError
from ratelimitd.rpc import status
from ratelimitd.rpc.ratelimit import RateLimitServicer
from ratelimitd.telemetry import Telemetry
from tests.rpc.support.calls import one

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ratelimitd.decision import Decision
    from ratelimitd.model import Question


def kinds(of: type[RateLimitdError] = RateLimitdError) -> Iterator[type[RateLimitdError]]:
    """Yield an exception class and all that come from it."""
    yield of
    for each in of.__subclasses__():
        yield from kinds(each)


def ours() -> set[type[RateLimitdError]]:
    """Return the exceptions of the package, without those that tests define."""
    return {each for each in kinds() if each.__module__ == errors.__name__}


def test_every_exception_of_ours_has_a_status() -> None:
    """No exception can reach the RPC edge without a row."""
    assert ours() == set(status.STATUSES)
    assert len(ours()) > 5


def test_an_exception_without_a_row_is_found() -> None:
    """The twin: a class that nobody told the table about is missed."""

    class NewError(StoreError):
        """Expected: for this test only."""

    assert set(kinds()) - set(status.STATUSES) >= {NewError}


def test_an_exception_without_a_row_has_the_status_of_its_kind() -> None:
    """A kind that came later is answered like its parent, and is no KeyError."""

    class LaterError(errors.StoreTimeoutError):
        """Expected: for this test only."""

    assert status.status_of(LaterError) is grpc.StatusCode.UNAVAILABLE
    assert all(status.status_of(kind) is code for kind, code in status.STATUSES.items())


def test_no_status_is_ok_or_the_peers_to_use() -> None:
    """An error never looks like an answer, like a wrong path, or like a servicer that crashed."""
    taken = {grpc.StatusCode.OK, grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNKNOWN}
    assert not taken & set(status.STATUSES.values())


class Abortion(Exception):  # noqa: N818 - ends a call, as grpcio's own does
    """What the fake call ends with."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(code, details)
        self.code = code
        self.details = details


class Call:
    """A call that can be aborted."""

    async def abort(self, code: grpc.StatusCode, details: str = "") -> NoReturn:
        """End it."""
        raise Abortion(code, details)

    def add_done_callback(self, callback: object) -> None:
        """Never: no call of these tests is granted a lease."""
        raise AssertionError(callback)

    def cancelled(self) -> bool:
        """Nobody goes away."""
        return False


class Failing:
    """A limiter that cannot decide."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def decide(self, _: Question) -> Decision:
        """Fail."""
        raise self._error


@pytest.mark.parametrize("kind", status.STATUSES)
async def test_the_servicer_ends_with_the_tables_status(kind: type[RateLimitdError]) -> None:
    """Whatever the limiter raises of ours, its caller gets the row's code and the text."""
    telemetry = Telemetry()
    servicer = RateLimitServicer(Failing(kind("why")), telemetry)  # type: ignore[arg-type]
    with pytest.raises(Abortion) as ended:
        await servicer.ShouldRateLimit(one("api_key=a"), Call())
    assert (ended.value.code, ended.value.details) == (status.STATUSES[kind], "why")
    assert not telemetry.counts
