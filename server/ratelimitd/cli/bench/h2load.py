"""Load made by h2load, nghttp2's generator in C: fast enough not to be what is measured.

h2load reads HTTP statuses only; a gRPC error travels in a trailer, which it does not look at.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from array import array
from pathlib import Path
from typing import TYPE_CHECKING

from ratelimitd.cli.bench.figures import Measured
from ratelimitd.errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ratelimitd.cli.bench.figures import Load
    from ratelimitd.settings import Address

LONGEST = 600.0
"""Seconds after which a run is ended, whatever was asked for."""

_FINISHED = re.compile(r"finished in ([\d.]+)(us|ms|s|m|h)\b")
_REQUESTS = re.compile(
    r"requests: (\d+) total, (\d+) started, (\d+) done, (\d+) succeeded, "
    r"(\d+) failed, (\d+) errored, (\d+) timeout"
)
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def find() -> str | None:
    """Return where h2load is; None where it is not installed."""
    return shutil.which("h2load")


def run(program: str, target: Address, path: str, message: bytes, load: Load) -> Measured:
    """Send a gRPC message over and over. Raises `UnreachableError` when nothing came of it."""
    with tempfile.TemporaryDirectory(prefix="ratelimitd-bench-") as name:
        body, log = Path(name) / "body", Path(name) / "log"
        body.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)
        command = [program, *arguments(target, path, load), f"--data={body}", f"--log-file={log}"]
        try:
            done = subprocess.run(  # noqa: S603 - a program from PATH, without a shell
                command,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=LONGEST,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise UnreachableError(f"h2load was not done within {LONGEST:g} s") from error
        lines = log.read_text("ascii").splitlines() if log.exists() else []
    return measured(done.stdout, lines)


def arguments(target: Address, path: str, load: Load) -> Iterator[str]:
    """Yield h2load's arguments, but for the files."""
    yield f"--clients={load.connections}"
    yield f"--max-concurrent-streams={load.streams}"
    yield f"--duration={load.seconds:g}" if load.seconds else f"--requests={load.requests}"
    # Neither a limiter that hangs nor one that went away holds us for longer than this.
    yield "--connection-inactivity-timeout=10"
    yield "--header=content-type: application/grpc"
    yield "--header=te: trailers"
    if target.path:
        yield f"--base-uri=unix:{target.path}"
        yield f"http://localhost{path}"
    else:
        yield f"http://{target}{path}"


def measured(output: str, log: Iterable[str]) -> Measured:
    """Return what h2load's report and its log (start, status, microseconds) say."""
    finished, counts = _FINISHED.search(output), _REQUESTS.search(output)
    if finished is None or counts is None:
        last = (output.strip().splitlines() or ["it said nothing"])[-1]
        raise UnreachableError(f"h2load could not load the limiter: {last}")
    total, _, _, succeeded, *_ = map(int, counts.groups())
    latencies = array("Q")
    for line in log:
        _, status, microseconds = line.split("\t")
        if status == "200":
            latencies.append(int(microseconds))
    return Measured(
        generator="h2load",
        seconds=float(finished[1]) * _SECONDS[finished[2]],
        decisions=succeeded,
        not_ok=total - succeeded,
        latencies=sorted(latencies),
    )
