"""One of several workers: `serve` in a process of its own, told by the supervisor what to do.

    python -m ratelimitd.cli.worker INDEX DESCRIPTOR

`workers` starts it, with its end of a socket at DESCRIPTOR. Signals mean nothing here: whoever
stops a service often signals each of its processes, and the supervisor hears of it too; a second
signal would cut the drain short. So what to do about one comes over the socket, once.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

from ratelimitd.cli import values
from ratelimitd.cli.control import Control, encode, receive_first
from ratelimitd.errors import RateLimitdError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ratelimitd.app import Service
    from ratelimitd.cli.control import Message
    from ratelimitd.http.metrics import Readings
    from ratelimitd.settings import Settings
    from ratelimitd.transports.pyvoy import Host

ORPHANED = 1
_PATIENCE = 3.0
"""Seconds that a scrape waits for the supervisor, which waits for the other workers for less."""


def main() -> int:
    """Serve until told to stop; return the exit status."""
    index, sock = int(sys.argv[1]), socket.socket(fileno=int(sys.argv[2]))
    start = receive_first(sock)
    return ORPHANED if start is None else run(index, sock, start)


def run(index: int, sock: socket.socket, start: Message) -> int:
    """Serve as the first message says."""
    import uvloop

    flags, log_format = start["flags"], start["log_format"]
    last = sock.dup()
    try:
        settings = values.settings(**flags, worker=index)
        if settings.transport == "pyvoy":
            from ratelimitd.cli import inside_envoy

            os.set_inheritable(sock.fileno(), True)
            inside_envoy.become(settings, flags, log_format, worker=(index, sock.fileno()))
        return uvloop.run(serve(settings, log_format, sock))
    except RateLimitdError as error:
        return refuse(last, error)


async def serve(
    settings: Settings, log_format: str, sock: socket.socket, envoy: Host | None = None
) -> int:
    """Serve until told to stop; return the exit status."""
    from ratelimitd.cli.serve import make, until_told

    control = await Control.on(sock)
    service = make(settings, log_format, envoy)
    work = _Work(control, service)
    if not settings.worker:
        service.workers = work.readings
    listening = asyncio.ensure_future(work.listen())
    try:
        return await until_told(service, settings.drain, work.signals, work.ready)
    finally:
        listening.cancel()
        control.close()


def refuse(sock: socket.socket, error: RateLimitdError) -> int:
    """Leave it to the supervisor to say why this worker cannot serve; return the exit status."""
    from ratelimitd.cli import program

    told = _Told(sys.stderr.isatty())
    with contextlib.redirect_stderr(told):
        status = program.tell(error)
    with contextlib.suppress(OSError):
        sock.sendall(encode("refused", text=told.getvalue()))
    return status


class _Told(io.StringIO):
    """What would have been on stderr, with colours if they would have been."""

    def __init__(self, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


class _Work:
    """What passes between a service and the supervisor."""

    def __init__(self, control: Control, service: Service) -> None:
        self._control = control
        self._service = service
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._scrapes = 0
        self.signals: asyncio.Queue[signal.Signals] = asyncio.Queue()

    def ready(self, addresses: Mapping[str, Iterable[str]]) -> None:
        """Say where the service listens."""
        self._control.tell("ready", addresses=addresses)

    async def listen(self) -> None:
        """Do what the supervisor says; stop when there is none any more."""
        async for message in self._control.messages():
            match message["kind"]:
                case "signal":
                    self.signals.put_nowait(signal.Signals(message["number"]))
                case "tell":
                    self._control.tell("told", scrape=message["scrape"], reading=self._reading())
                case "others":
                    asked = self._asked.get(message["scrape"])
                    if asked is not None and not asked.done():
                        asked.set_result(message["readings"])
        self.signals.put_nowait(signal.SIGTERM)

    def _reading(self) -> list[Any]:
        counts, figures = self._service.reading()
        return [[[*name, count] for name, count in counts.items()], dict(figures)]

    async def readings(self) -> Readings:
        """Return the counts of all workers; this is the first."""
        self._scrapes += 1
        scrape = self._scrapes
        asked = self._asked[scrape] = asyncio.get_running_loop().create_future()
        self._control.tell("ask", scrape=scrape)
        told: dict[str, Any] = {}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                told = await asked
        self._asked.pop(scrape, None)
        return _readings(told, self._reading())


def _readings(told: dict[str, Any], own: list[Any]) -> Readings:
    """Return readings from the supervisor's answer, in the order of the workers."""
    from ratelimitd.telemetry import Reading

    readings: Readings = {}
    first = told.get("0", {"restarts": 0})
    for worker, answer in {"0": first, **told}.items():
        reading = own if worker == "0" else answer["reading"]
        up = {"worker_up": float(reading is not None)}
        up["worker_restarts_total"] = float(answer["restarts"])
        counts, figures = reading or ([], {"ready": 0.0})
        readings[worker] = Reading({(a, b): n for a, b, n in counts}, up | figures)
    return readings


if __name__ == "__main__":
    sys.exit(main())
