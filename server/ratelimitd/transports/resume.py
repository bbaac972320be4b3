"""Going on with a coroutine whose first step was already taken. Knows nothing of calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator


class Resume:
    """An awaitable: the rest of a coroutine that has been sent None once and yielded `pending`."""

    __slots__ = ("_coroutine", "_pending")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], pending: object) -> None:
        self._coroutine = coroutine
        self._pending = pending

    def __await__(self) -> Generator[Any, Any, Any]:
        """Yield what the coroutine yields, starting with what it is waiting for already."""
        pending, self._pending = self._pending, None
        while True:
            try:
                try:
                    sent = yield pending
                except BaseException as error:  # noqa: BLE001 - handed on, cancellation included
                    # An exception knows this frame, and a future its exception: this frame keeps
                    # neither, so that no cycle is left behind.
                    pending = None
                    pending = self._coroutine.throw(error)
                else:
                    pending = self._coroutine.send(sent)
            except StopIteration as done:
                return done.value
