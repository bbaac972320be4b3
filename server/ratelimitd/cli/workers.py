"""`serve --workers N`: a supervisor that starts the workers, and ends with them.

Owns their lives: one ready line, signals passed on, restarts, the exit status. It serves nothing
itself. Each worker is a fresh interpreter (`worker`), because neither an event loop nor the threads
of grpcio and h2corn survive a fork; and each has addresses of its own, because Envoy keeps one
connection for each endpoint and thread: behind one shared port some workers would get none.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any, Final

from ratelimitd.children import tied_to
from ratelimitd.cli.control import Control
from ratelimitd.cli.serve import print_ready
from ratelimitd.transports.ports import GRACE

if TYPE_CHECKING:
    from asyncio.subprocess import Process

    from ratelimitd.cli.control import Message
    from ratelimitd.settings import Settings

_LOG = logging.getLogger("ratelimitd")

PROGRAM: tuple[str, ...] = ("-m", "ratelimitd.cli.worker")
MOST_CRASHES = 5
"""In a row; then something is wrong that no restart mends."""
STEADY = 30.0
"""Seconds of service after which earlier crashes are forgiven."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
"""Seconds before a worker is started again, at first and at the most."""
HARD_STOP = 10.0
"""Seconds beyond drain and grace after which a worker that is still there is killed."""
BROKEN: Final = 1
_PATIENCE = 1.0
"""Seconds that the workers have to tell their counts."""
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def run(settings: Settings, flags: dict[str, Any], log_format: str) -> int:
    """Serve with several workers until a signal ends it; return the exit status."""
    from ratelimitd.telemetry import configure_logging

    configure_logging(log_format)
    listens = [
        [str(address.of_worker(index)) for address in settings.listen]
        for index in range(settings.workers)
    ]
    starts = [{"flags": {**flags, "listen": each}, "log_format": log_format} for each in listens]
    return asyncio.run(Supervisor(starts, settings.drain).serve())


class Worker:
    """One worker over all of its lives."""

    def __init__(self, index: int, start: dict[str, Any]) -> None:
        self.index = index
        self.start = start
        """Its first message: how it is set up."""
        self.addresses: dict[str, list[str]] = {}
        """By listener, once it was ready; it gets the same ones in its next life."""
        self.control: Control | None = None
        """While it lives."""
        self.is_ready = False
        self.refusal = ""
        """Why it said that it cannot serve, in this life."""
        self.crashes = 0
        """Lives in a row that ended by themselves soon."""
        self.refusals = 0
        """Lives in a row that never served, and said why."""
        self.restarts = 0

    def ready(self, addresses: dict[str, list[str]]) -> None:
        """Note where it listens, free ports resolved."""
        self.is_ready = True
        self.refusals = 0
        self.addresses = addresses
        flags = self.start["flags"]
        flags["listen"] = addresses["grpc"]
        for name in ("http", "admin"):
            if name in addresses:
                (flags[name],) = addresses[name]

    def forgive(self) -> None:
        """Forget its crashes: it has served for a while."""
        self.crashes = 0

    def tell(self, kind: str, **words: object) -> None:
        """Send a message, if it lives."""
        if self.control is not None:
            self.control.tell(kind, **words)


class Supervisor:
    """Starts workers, passes signals on, and starts again what ends by itself."""

    def __init__(self, starts: list[dict[str, Any]], drain: float) -> None:
        self._workers = [Worker(index, start) for index, start in enumerate(starts)]
        self._longest = drain + GRACE + HARD_STOP
        self._processes: set[Process] = set()
        self._told: dict[tuple[int, int], asyncio.Future[Any]] = {}
        self._answers: set[asyncio.Task[None]] = set()
        self._is_up = False
        """Whether all were ready once."""
        self._order: signal.Signals | None = None
        """What all were told last; they end then, and are not started again."""
        self._ending = asyncio.Event()
        self._status = 0
        self._refusal = ""
        """Why there is no service, in the words of the first worker that cannot serve."""

    async def serve(self) -> int:
        """Run the workers to their end; return the exit status."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._obey, number)
        keepers = [asyncio.ensure_future(self._keep(worker)) for worker in self._workers]
        try:
            statuses = await asyncio.gather(*keepers)
        finally:
            self._kill()  # for a fault of ours, which leaves nobody behind
            sys.stderr.write(self._refusal)  # after the others' last words, so that it is seen
        return self._status or (BROKEN if any(statuses) else 0)

    def _obey(self, number: signal.Signals) -> None:
        if number is signal.SIGHUP:
            self._tell_all(number)
            return
        if self._order is None:
            _LOG.info("stopping", extra={"signal": number.name})
        else:
            self._status = self._status or 128 + number
        self._stop(number)

    def _stop(self, number: signal.Signals) -> None:
        """End all workers, by force if they take too long."""
        hard = self._longest if self._order is None else GRACE
        self._order = number
        self._ending.set()
        self._tell_all(number)
        asyncio.get_running_loop().call_later(hard, self._kill)

    def _fail(self, status: int) -> None:
        """End all workers because of one; what is told first is the status."""
        if self._order is None:
            self._status = status
            self._stop(signal.SIGINT)

    def _tell_all(self, number: signal.Signals) -> None:
        for worker in self._workers:
            worker.tell("signal", number=number)

    def _kill(self) -> None:
        for process in self._processes:
            process.kill()

    async def _keep(self, worker: Worker) -> int:
        """Start a worker again and again, until all end; return its last exit status."""
        while True:
            status = await self._live(worker)
            if self._order is not None:
                return status
            if not self._is_up:
                self._refused(worker, status)
                return 0
            pause = self._ended(worker, status)
            try:
                async with asyncio.timeout(pause):
                    await self._ending.wait()
                return 0
            except TimeoutError:
                worker.restarts += 1

    def _refused(self, worker: Worker, status: int) -> None:
        """End it all at the start, because one cannot serve."""
        self._refusal = worker.refusal
        if not worker.refusal:
            _LOG.error("a worker ended at its start", extra=_of(worker, status))
        self._fail(status if worker.refusal else BROKEN)

    def _ended(self, worker: Worker, status: int) -> float:
        """Say that a worker has ended by itself; return the seconds before its next life."""
        if worker.refusal:
            sys.stderr.write(worker.refusal)  # what it needs may come back: the others serve
            worker.refusals += 1
        else:
            worker.crashes += 1
        lost = worker.crashes + worker.refusals
        pause = min(FIRST_PAUSE * 2.0 ** min(lost - 1, 30), LONGEST_PAUSE)
        if worker.crashes >= MOST_CRASHES:
            _LOG.error("a worker ends again and again: giving up", extra=_of(worker, status))
            self._fail(BROKEN)
        else:
            told = {**_of(worker, status), "pause": f"{pause:g}s"}
            _LOG.warning("a worker ended by itself and is started again", extra=told)
        return pause

    async def _live(self, worker: Worker) -> int:
        """Start a worker and listen to it until it has ended; return its exit status."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = await _start(worker.index, theirs)
        self._processes.add(process)
        control = worker.control = await Control.on(ours)
        worker.is_ready, worker.refusal = False, ""
        worker.tell("start", **worker.start)
        if self._order is not None:
            worker.tell("signal", number=self._order)
        steady: asyncio.TimerHandle | None = None
        async for message in control.messages():
            if message["kind"] == "ready":
                steady = asyncio.get_running_loop().call_later(STEADY, worker.forgive)
            self._hear(worker, message)
        status = await process.wait()
        if steady is not None:
            steady.cancel()
        worker.control, worker.is_ready = None, False
        control.close()
        self._processes.discard(process)
        return status

    def _hear(self, worker: Worker, message: Message) -> None:
        match message["kind"]:
            case "ready":
                worker.ready(message["addresses"])
                self._greet()
            case "refused":
                worker.refusal = message["text"]
            case "told":
                told = self._told.pop((worker.index, message["scrape"]), None)
                if told is not None and not told.done():
                    told.set_result(message["reading"])
            case "ask":
                answer = asyncio.ensure_future(self._answer(worker, message["scrape"]))
                self._answers.add(answer)
                answer.add_done_callback(self._answers.discard)

    def _greet(self) -> None:
        """Print the ready line once all are ready, and once only."""
        if self._is_up or not all(worker.is_ready for worker in self._workers):
            return
        self._is_up = True
        places = {
            name: [place for worker in self._workers for place in worker.addresses.get(name, ())]
            for name in self._workers[0].addresses
        }
        print_ready(places)

    async def _answer(self, asker: Worker, scrape: int) -> None:
        """Tell the first worker what the others have counted."""
        loop = asyncio.get_running_loop()
        others = [worker for worker in self._workers if worker is not asker]
        asked: dict[int, asyncio.Future[Any]] = {}
        for worker in others:
            if worker.is_ready:
                asked[worker.index] = self._told[worker.index, scrape] = loop.create_future()
                worker.tell("tell", scrape=scrape)
        if asked:
            await asyncio.wait(asked.values(), timeout=_PATIENCE)
        readings: dict[int, dict[str, Any]] = {asker.index: {"restarts": asker.restarts}}
        for worker in others:
            self._told.pop((worker.index, scrape), None)
            answered = worker.index in asked and asked[worker.index].done()
            reading = asked[worker.index].result() if answered else None
            readings[worker.index] = {"restarts": worker.restarts, "reading": reading}
        asker.tell("others", scrape=scrape, readings=readings)


def _of(worker: Worker, status: int) -> dict[str, Any]:
    return {"worker": worker.index, "status": status}


async def _start(index: int, theirs: socket.socket) -> Process:
    """Start an interpreter that imports what this one does, and has nothing else of it."""
    number = theirs.fileno()
    paths = os.pathsep.join(filter(None, sys.path))
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", *PROGRAM, str(index), str(number)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        pass_fds=(number,),
        env={**os.environ, "PYTHONPATH": paths},
        start_new_session=True,  # Ctrl-C is for the supervisor, which passes it on
        preexec_fn=tied_to(os.getpid(), _SIGNALS),
    )
