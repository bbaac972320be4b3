"""The command line as real processes: run to their end, or running until a test has had enough."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ratelimitd.devkit.samples import samples_dir
from tests.support.interpreters import interpreter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SAMPLE = samples_dir() / "policy.yaml"
FREE = "127.0.0.1:0"
ANYWHERE = ("--listen", FREE, "--http", FREE, "--admin", FREE)
"""Flags that take no port from anybody else."""
READY_WITHIN = 30.0
STOPS_WITHIN = 30.0
"""Seconds; for machines that do something else at the same time."""

_READY = re.compile(r"ratelimitd \S+ ready: (.*)\n")


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment without what would reach a flag."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RATELIMITD_")}
    kept.pop("GRPC_VERBOSITY", None)
    return kept | dict(extra or {})


def command(*arguments: object) -> list[str]:
    """Return the command line of `ratelimitd` with these arguments."""
    python = interpreter("pyvoy" if "pyvoy" in arguments else "")
    return [python, "-m", "ratelimitd", *map(str, arguments)]


def ratelimitd(
    *arguments: object, stdin: str = "", env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    done = subprocess.run(
        command(*arguments),
        input=stdin,
        env=environment(env),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


@dataclass(frozen=True, slots=True)
class Running:
    """A command that said it is ready."""

    process: subprocess.Popen[str]
    places: tuple[tuple[str, str], ...]
    """Listener and address, in the order of the ready line."""

    def __getitem__(self, listener: str) -> str:
        """Return the first address of a listener."""
        return dict(reversed(self.places))[listener]

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def end(self) -> tuple[int, str]:
        """Wait for the end; return the status and what was written to stderr."""
        _, err = self.process.communicate(timeout=STOPS_WITHIN)
        assert "Traceback" not in err, err
        return self.process.returncode, err

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal and wait for the end."""
        self.send(number)
        return self.end()


@contextlib.contextmanager
def running(*arguments: object, env: Mapping[str, str] | None = None) -> Iterator[Running]:
    """Run a command that prints a ready line, until the block's end."""
    process = subprocess.Popen(
        command(*arguments),
        env=environment(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], READY_WITHIN)[0], "no ready line in time"
        line = process.stdout.readline()
        found = _READY.fullmatch(line)
        assert found, (line, process.communicate(timeout=STOPS_WITHIN))
        pairs = tuple(pair.split(" ", 1) for pair in found[1].split(", "))
        yield Running(process, tuple((name, address) for name, address in pairs))
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def children(pid: int) -> set[int]:
    """Return the processes that a process started and that are still there."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name, in brackets, may hold anything; the state and the parent follow it.
            parent = stat.read_text("utf-8", "replace").rpartition(")")[2].split()[1]
            if int(parent) == pid:
                found.add(int(stat.parent.name))
    return found


def serving(
    *arguments: object, env: Mapping[str, str] | None = None
) -> contextlib.AbstractContextManager[Running]:
    """Run `serve` with the sample policy on free ports."""
    return running("serve", "--policy", SAMPLE, *ANYWHERE, *arguments, env=env)
