"""`serve --transport pyvoy`, its second half: what runs inside the Envoy that the first became.

`become` leaves its flags in one environment variable, blocks the signals and executes Envoy, which
keeps them blocked in all of its threads; pyvoy imports this module there, and a thread of ours
takes the signals. So a drain is ours to make, and the process ends as `serve` ends anywhere.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ratelimitd.errors import RateLimitdError
from ratelimitd.transports.pyvoy import Host

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ratelimitd.settings import Settings

APPLICATION = f"{__name__}:application"
VARIABLE = "PYVOY_RATELIMITD"
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
BROKEN = 1


def become(
    settings: Settings,
    flags: Mapping[str, Any],
    log_format: str,
    worker: tuple[int, int] | None = None,
) -> NoReturn:
    """Execute Envoy in this process's place. Raises `SettingsError` where that cannot work.

    `worker`, where there are several: the index of this one, and the descriptor of its socket.
    """
    from ratelimitd.rpc import served
    from ratelimitd.transports import pyvoy_launch

    parts = pyvoy_launch.find_parts()
    folder = Path(tempfile.mkdtemp(prefix="ratelimitd-"))
    try:
        launch = pyvoy_launch.launch(
            parts,
            settings,
            os.environ,
            folder=folder,
            application=APPLICATION,
            paths=served.paths(),
            log_format=log_format,
        )
        admin = str(folder / pyvoy_launch.ADMIN)
        told = json.dumps(
            {"flags": flags, "log_format": log_format, "admin": admin, "worker": worker}
        )
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        os.execve(launch.program, launch.arguments, {**launch.environment, VARIABLE: told})  # noqa: S606 - nothing of it is a caller's
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


async def _main(host: Host) -> NoReturn:
    """Serve to the end of the process."""
    from ratelimitd.cli import program

    sys.path[:] = [folder for folder in sys.path if folder != "."]  # which pyvoy puts first
    told = json.loads(os.environ.pop(VARIABLE))
    host.admin = Path(told["admin"])
    status = BROKEN
    try:
        status = await _serve(host, told)
    except RateLimitdError as error:
        status = _tell(error, told["worker"])
    except BrokenPipeError:
        status = program.READER_GONE
    except Exception:
        logging.getLogger("ratelimitd").exception("this should not have happened")
    finally:
        shutil.rmtree(host.admin.parent, ignore_errors=True)
        _leave(status)


async def _serve(host: Host, told: dict[str, Any]) -> int:
    from ratelimitd.cli import serve, values, worker

    log_format = told["log_format"]
    if told["worker"] is not None:
        index, number = told["worker"]
        settings = values.settings(**told["flags"], worker=index)
        return await worker.serve(settings, log_format, socket.socket(fileno=os.dup(number)), host)
    settings = values.settings(**told["flags"])
    service = serve.make(settings, log_format, host)
    return await serve.until_told(service, settings.drain, _signals(), serve.print_ready)


def _tell(error: RateLimitdError, told_worker: tuple[int, int] | None) -> int:
    """Say what keeps this process from serving; return the exit status."""
    from ratelimitd.cli import program, worker

    if told_worker is None:
        return program.tell(error)
    return worker.refuse(socket.socket(fileno=told_worker[1]), error)


def _signals() -> asyncio.Queue[signal.Signals]:
    """Return a queue of the signals that come from now on."""
    queue: asyncio.Queue[signal.Signals] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def wait() -> None:
        while True:
            loop.call_soon_threadsafe(queue.put_nowait, signal.Signals(signal.sigwait(SIGNALS)))

    threading.Thread(target=wait, name="signals", daemon=True).start()
    return queue


def _leave(status: int) -> NoReturn:
    """End the process, Envoy and all: everything of it that matters is closed."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


application = Host(_main)
