"""Child processes: how they are stopped, and that they end when their parent does, however it ends.

Knows nothing of what they are.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Callable, Iterable

STOP_WITHIN: Final = 5.0
"""Seconds from asking a child to end to ending it."""
_PR_SET_PDEATHSIG: Final = 1
"""From Linux's sys/prctl.h."""


def tied_to(parent: int, ignoring: Iterable[signal.Signals] = ()) -> Callable[[], None] | None:
    """What a child does before it becomes another program: ask to be killed with its parent.

    Nobody can stop it after a `kill -9` of its parent, and it would answer on its ports for ever.
    The kernel takes the end of the thread that forked for that of the parent. The signals in
    `ignoring` mean nothing to the child. Linux only; elsewhere nothing is done. All is looked up
    before the fork, after which little is safe.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    ignored = tuple(ignoring)

    def tie() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL.value)
        if os.getppid() != parent:  # it ended between the fork and now
            os._exit(1)
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)

    return tie


async def stop(process: Process) -> None:
    """Ask a child to end, and end it if it does not."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_WITHIN):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
