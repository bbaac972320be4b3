"""The limiter as an application of somebody else's ASGI server: h2corn, by its own command."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.e2e.support.cli import SAMPLE, STOPS_WITHIN, environment, ratelimitd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    Process = subprocess.Popen[str]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Process]:
    """`h2corn --grpc ratelimitd.asgi:application` on a free port."""
    (tmp_path / "secret").write_text("0123456789abcdef")
    env = {
        "RATELIMITD_POLICY": str(SAMPLE),
        "RATELIMITD_SECRET_FILE": str(tmp_path / "secret"),
        "RATELIMITD_STORE": f"file:{tmp_path / 'counts'}",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "h2corn", "--grpc", "--bind", "127.0.0.1:0", APPLICATION],
        env=environment(env),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=STOPS_WITHIN)


APPLICATION = "ratelimitd.asgi:application"


def address_of(server: Process) -> str:
    """Return where it listens, from its greeting."""
    assert server.stderr is not None
    for line in server.stderr:
        if found := re.search(r"Listening on http://(\S+)", line):
            return found[1]
    raise AssertionError("it ended without a greeting")


def test_h2corn_serves_the_application(server: Process, tmp_path: Path) -> None:
    """Decisions, gRPC trailers and all; and the store is written at the end."""
    target = address_of(server)
    decide = ("decide", "--target", target, "api_key=somebody")
    assert ratelimitd(*decide).returncode == 0
    assert ratelimitd(*decide, "--hits", "11").returncode == 1
    server.send_signal(signal.SIGTERM)
    _, err = server.communicate(timeout=STOPS_WITHIN)
    assert server.returncode == 0
    assert "Traceback" not in err
    assert (tmp_path / "counts").stat().st_size > 0
