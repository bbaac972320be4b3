"""A servicer as grpcio-testing's synchronous server calls it: each call is run to its end.

A decision from memory never waits. What the server sends, and what clients make of it, is its own.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, NoReturn

from tests.support.stores import at_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import grpc


class _Ended(Exception):  # noqa: N818 - no error: how an aborted call ends
    """Expected: the servicer aborted its call."""


class _Awaitable:
    """A synchronous context as the servicer expects it."""

    def __init__(self, context: grpc.ServicerContext) -> None:
        self._context = context

    async def abort(
        self,
        code: grpc.StatusCode,
        details: str = "",
        trailing_metadata: tuple[tuple[str, bytes], ...] = (),
    ) -> NoReturn:
        """End the call. grpcio-testing's own `abort` would drop the trailers."""
        self._context.set_trailing_metadata(trailing_metadata)
        self._context.set_code(code)
        self._context.set_details(details)
        raise _Ended

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Call back when the call has ended."""
        self._context.add_callback(lambda: callback(self))

    def cancelled(self) -> bool:
        """grpcio-testing always takes the answer."""
        return False


class Synchronous:
    """These methods of a servicer, for a synchronous server."""

    def __init__(self, servicer: object, methods: Iterable[str]) -> None:
        for method in methods:
            setattr(self, method, self._running(getattr(servicer, method)))

    @staticmethod
    def _running(behavior: Any) -> Any:  # noqa: ANN401 - a servicer's method
        def run(request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ANN401 - its own
            with contextlib.suppress(_Ended):
                return at_once(behavior(request, _Awaitable(context)))

        return run
