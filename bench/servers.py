"""The servers that are compared, each a process of its own that is stopped afterwards."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_POLICY = Path(__file__).with_name("policy.yaml")
_PYVOY = Path(__file__).parents[1] / ".venv-pyvoy/bin/python"
_CPU_TIME = 2  # CPUCLOCK_SCHED


class Running(NamedTuple):
    """A server under measurement."""

    pid: int
    target: str
    """HOST:PORT of its gRPC listener."""
    admin: str = ""
    """HOST:PORT of its admin listener, where it has one."""

    def cpu_seconds(self) -> float:
        """Return the processor time it has used so far, user and system.

        By the clock that Linux has for each process (clock_getcpuclockid): /proc counts in ticks of
        10 ms, of which a measured load may last a dozen.
        """
        return time.clock_gettime(~self.pid << 3 | _CPU_TIME)


@contextlib.contextmanager
def running(command: list[str]) -> Iterator[Running]:
    """Run a server that says on stdout when it is ready, and where; stop it in the end."""
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"(?:grpc|ready) (127\.0\.0\.1:\d+)", line)
        try:
            if found is None:
                msg = f"{' '.join(command)} did not become ready: {line!r}"
                raise RuntimeError(msg)
            admin = re.search(r"admin (127\.0\.0\.1:\d+)", line)
            yield Running(process.pid, found[1], admin[1] if admin else "")
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def free_port() -> int:
    """Return a port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def ratelimitd(transport: str, store: str = "memory", policy: Path = _POLICY) -> list[str]:
    """Return the command of the product, by default with the measured tier."""
    free = ("--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0")
    chosen = ("--transport", transport, "--store", store, "--policy", str(policy))
    # pyvoy brings an Envoy of its own, which cannot stand beside the one of the tests.
    python = _PYVOY if transport == "pyvoy" else sys.executable
    return [str(python), "-m", "ratelimitd", "serve", *free, *chosen]


def naive() -> list[str]:
    """Return the command of the frozen yardstick."""
    return [sys.executable, "-m", "bench.naive", str(free_port())]


def noop() -> list[str]:
    """Return the command of the h2corn transport with a decision that does nothing."""
    return [sys.executable, "-m", "bench.noop"]
