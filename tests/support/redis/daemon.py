"""One server process on a free loopback port, whatever it serves: started, paused, killed, gone.

It is killed when its test ends, and by the kernel when the tests' process dies (Linux). Every wait
here polls and has a deadline.
"""

from __future__ import annotations

import abc
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ratelimitd.children import tied_to

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

LOOPBACK: Final = "127.0.0.1"
WITHIN: Final = 20.0
"""Seconds for anything to happen. It takes milliseconds; a machine that is busy takes longer."""
_POLL: Final = 0.003
_ATTEMPTS: Final = 10
_BUS: Final = 10_000
"""A cluster's nodes talk among themselves on port + 10,000; Redis 6.2 knows no other."""


class StartError(AssertionError):
    """A server did not start; says what it wrote into its log."""


def wait_for(predicate: Callable[[], object], description: str, *, within: float = WITHIN) -> None:
    """Return once `predicate` holds; what is unreachable or refuses meanwhile does not hold it."""
    deadline = time.monotonic() + within
    while True:
        with contextlib.suppress(redis.RedisError, OSError):
            if predicate():
                return
        assert time.monotonic() < deadline, f"not within {within:g} s: {description}"
        time.sleep(_POLL)


def free_port() -> int:
    """Return a port that is free, and whose cluster bus is.

    Below the ports that the kernel gives to clients: nobody's connection takes the port of a server
    that is down for a moment, and nobody who reconnects to it connects to itself.
    """
    given = Path("/proc/sys/net/ipv4/ip_local_port_range")
    first = int(given.read_text().split()[0]) if given.exists() else 0
    top = first - _BUS if first > 2 * _BUS + 1000 else 65_535 - _BUS
    while True:
        port = random.randrange(_BUS, top)
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as other:
            one.bind((LOOPBACK, port))
            other.bind((LOOPBACK, port + _BUS))
            return port


class Daemon(abc.ABC):
    """A process that speaks Redis's protocol. `command` is everything but what a subclass adds."""

    def __init__(self, command: Sequence[str], password: str | None = None) -> None:
        self._command = tuple(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._clients: list[redis.Redis] = []
        self._asking: redis.Redis | None = None
        self.password = password
        self.folder = Path(tempfile.mkdtemp(prefix="ratelimitd-"))
        """Its data, log and unix socket; removed in the end."""
        self.port = 0
        """The same for its whole life, also after `restart()`."""

    @abc.abstractmethod
    def arguments(self) -> tuple[str, ...]:
        """Return what the command goes on with, now that port and folder are known."""

    def __enter__(self) -> Self:
        try:
            self._start_somewhere()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process, whatever state it is in, and remove what it left."""
        self.kill()
        for client in self._clients:
            client.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def pid(self) -> int:
        """The process that runs now; another one after `restart()`."""
        assert self._process, "it was never started"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there; a paused one is."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """What it has written so far."""
        path = self.folder / "log"
        return path.read_text("utf-8", "replace") if path.exists() else "it wrote no log"

    def client(self, **options: Any) -> redis.Redis:  # noqa: ANN401 - redis-py's
        """Return a client of redis-py, protocol 2, closed with the server; options are redis-py's.

        It asks again once on a connection that turns out to be dead, and gives up after 5 s.
        """
        usual = {"protocol": 2, "socket_timeout": 5, "retry": Retry(NoBackoff(), 1)}
        given = {"host": LOOPBACK, "port": self.port, "password": self.password}
        client = redis.Redis(**{**usual, **given, **options})
        self._clients.append(client)
        return client

    def ask(self, *command: str | bytes | int) -> Any:  # noqa: ANN401 - as various as replies
        """Return the reply to a command as it came, past what redis-py makes of it."""
        if self._asking is None:
            self._asking = self.client()
        connection = self._asking.connection_pool.get_connection()
        try:
            connection.send_command(*command)
            return connection.read_response()
        finally:
            self._asking.connection_pool.release(connection)

    def pause(self) -> None:
        """Stop it in the middle of whatever it does: connections stay, answers do not come."""
        os.kill(self.pid, signal.SIGSTOP)
        wait_for(lambda: self._state() == "T", f"{self.address} is stopped")

    def resume(self) -> None:
        """Let it go on where it was stopped."""
        os.kill(self.pid, signal.SIGCONT)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Keep it paused for a while."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    def kill(self) -> None:
        """Kill it; its connections are reset and its port refuses."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def restart(self) -> None:
        """Kill it if it runs, and start it again: same port, same folder."""
        self.kill()
        if not self._started():
            raise StartError(self.log)

    def _start_somewhere(self) -> None:
        for _ in range(_ATTEMPTS):
            self.port = free_port()
            if self._started():
                return
        raise StartError(self.log)

    def _started(self) -> bool:
        """Start the process; answer whether it got its port, and fail for any other reason."""
        command = [*self._command, *self.arguments()]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=tied_to(os.getpid()),  # noqa: PLW1509 - it is made for that
            )
        with self.client() as asking:
            wait_for(lambda: self._is_up(asking), f"{self.address} answers: {self.log}")
        self._clients.remove(asking)
        if self.running:
            return True
        if "ddress already in use" in self.log:
            (self.folder / "log").unlink()
            return False
        raise StartError(self.log)

    def _is_up(self, asking: redis.Redis) -> bool:
        """Tell whether this very process answers, or will not: the port may be somebody else's."""
        return not self.running or asking.info("server")["process_id"] == self.pid

    def _state(self) -> str:
        """Return the kernel's letter for what the process does."""
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2][0]
