"""An event loop whose time jumps to the next timer: seconds pass at once, and always alike."""

import asyncio
import selectors


class _Jump(selectors.SelectSelector):
    """Never waits; moves the loop's clock instead. Nothing in a simulation opens a file."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Let the time pass that the loop would wait."""
        if timeout is None:
            raise RuntimeError("everything waits, and no timer runs: the simulation hangs")
        self.now_ns += max(0, int(timeout * 1e9) + (timeout > 0))
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Begins at 0."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        """Return the seconds that have passed."""
        return self._jump.now_ns / 1e9

    def now_ns(self) -> int:
        """Return the same in nanoseconds: the monotonic clock of the host."""
        return self._jump.now_ns
