"""The other commands as real processes, as a terminal or a script calls them."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from ratelimitd.cli._client import TIMEOUT
from tests.e2e.support.cli import (
    SAMPLE,
    STOPS_WITHIN,
    Running,
    command,
    environment,
    ratelimitd,
    serving,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Debian has h2load, and no wheel does: where it is not installed, a stand-in below tells what
# becomes of its report.
GENERATORS = ("grpcio", *filter(shutil.which, ["h2load"]))


@pytest.fixture(scope="module")
def limiter() -> Iterator[Running]:
    """A limiter with the sample policy; tests use callers of their own."""
    with serving() as process:
        yield process


def decide(limiter: Running, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Ask it."""
    return ratelimitd("decide", "--target", limiter["grpc"], *arguments)


def test_an_allowed_call_exits_0(limiter: Running) -> None:
    """The answer on stdout, what to try next on stderr, and no key in either."""
    done = decide(limiter, "api_key=Bearer allowed-caller", "route=invoke")
    assert done.returncode == 0
    assert done.stdout.startswith("allowed\n")
    assert "X-RateLimit-Limit: 100\n" in done.stdout
    assert "Try: " in done.stderr
    assert "allowed-caller" not in done.stdout + done.stderr


def test_a_denied_call_exits_1(limiter: Running) -> None:
    """For hits that never fit, at whatever minute the test runs."""
    done = decide(limiter, "api_key=denied-caller", "--hits", "11", "--json")
    answer = json.loads(done.stdout)
    assert done.returncode == 1
    assert answer["allowed"] is False
    assert answer["body"]["error"]["details"]["reason"] == "exceeds_limit"


def test_a_peek_charges_nothing(limiter: Running) -> None:
    """However often it is asked, the next peek sees as much."""
    remaining = [
        json.loads(decide(limiter, "api_key=peeking-caller", "--peek", "--json").stdout)[
            "statuses"
        ][0]["remaining"]
        for _ in range(3)
    ]
    assert remaining == [100, 100, 100]


def test_an_unknown_domain_is_allowed_with_a_hint(limiter: Running) -> None:
    """The server decides it so, and a person should hear why nothing was limited."""
    done = decide(limiter, "api_key=x", "--domain", "agent-apy")
    assert done.returncode == 0
    assert "no limit applies" in done.stdout
    assert "exempt, unlimited, or not named by the policy (--domain agent-apy" in done.stderr


def test_an_empty_domain_is_refused_by_the_server(limiter: Running) -> None:
    """What only an operator can cause is an error, and a mistake in the command."""
    done = decide(limiter, "api_key=x", "--domain", "")
    assert (done.returncode, done.stdout) == (2, "")
    assert "the limiter refuses the question: " in done.stderr


def test_nobody_there_exits_69() -> None:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    done = ratelimitd("decide", "--target", address, "api_key=x")
    assert (done.returncode, done.stdout) == (69, "")
    assert f"error: nobody answers at {address}" in done.stderr


def test_somebody_else_there_exits_69(limiter: Running) -> None:
    """The probes' port speaks HTTP/2, and is no rate limiter."""
    done = ratelimitd("decide", "--target", limiter["http"], "api_key=x")
    assert (done.returncode, done.stdout) == (69, "")


def test_a_silent_server_exits_69_in_time() -> None:
    """It accepts and says nothing: the wait is bounded."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        start = time.monotonic()
        done = ratelimitd("decide", "--target", address, "api_key=x")
    assert done.returncode == 69
    assert time.monotonic() - start < TIMEOUT + 10


def test_a_proxy_of_the_environment_is_not_asked(limiter: Running) -> None:
    """The target is where it was said to be."""
    env = {"http_proxy": "http://127.0.0.1:9", "grpc_proxy": "http://127.0.0.1:9"}
    done = ratelimitd("decide", "--target", limiter["grpc"], "a=b", "--peek", env=env)
    assert done.returncode == 0


def test_what_init_prints_passes_check() -> None:
    """`ratelimitd init | ratelimitd check -`."""
    sample = ratelimitd("init")
    done = ratelimitd("check", "-", stdin=sample.stdout)
    assert done.returncode == 0
    assert "tier team" in done.stdout


def test_check_of_a_good_and_a_bad_file(tmp_path: Path) -> None:
    """0 and 1, for scripts that look at nothing else."""
    (tmp_path / "bad.yaml").write_text(SAMPLE.read_text("utf-8").replace("hour", "houre"))
    good, bad = ratelimitd("check", SAMPLE), ratelimitd("check", tmp_path / "bad.yaml")
    assert (good.returncode, bad.returncode) == (0, 1)
    assert "Did you mean `hour`?" in bad.stdout


def test_a_reader_that_leaves_is_no_fault() -> None:
    """`ratelimitd schema | head -1`: no traceback, and none from Python's end either."""
    process = subprocess.Popen(
        [sys.executable, "-c", _GREAT_OUTPUT],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(STOPS_WITHIN) == 128 + signal.SIGPIPE
    assert b"Traceback" not in err
    assert b"BrokenPipe" not in err


# `init`, with a sample that fits in no pipe's buffer.
_GREAT_OUTPUT = """
import sys, pathlib
pathlib.Path.read_text = lambda *_: "x" * (1 << 20)
from ratelimitd.cli.program import run
sys.exit(run(["init"]))
"""


def test_closed_streams_are_no_fault() -> None:
    """`>&- 2>&-`, as some supervisors start their children."""
    for close in (">&-", "2>&-", ">&- 2>&-"):
        line = f'"$@" {close}'
        shell = ["sh", "-c", line, "sh", *command("check", SAMPLE)]
        done = subprocess.run(
            shell, env=environment(), capture_output=True, check=False, timeout=60
        )
        assert done.returncode == 0
        assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("generator", GENERATORS)
def test_bench_measures(limiter: Running, generator: str) -> None:
    """A bounded run gives figures that hang together, by either generator."""
    arguments = ("--requests", "400", "--streams", "5", "--generator", generator, "--json")
    done = ratelimitd("bench", "--target", limiter["grpc"], *arguments, "api_key=loader")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert (figures["generator"], figures["decisions"], figures["not_ok"]) == (generator, 400, 0)
    assert 0 < figures["latency_ms"]["p50"] <= figures["latency_ms"]["p99.9"]
    assert figures["decisions_per_second"] == pytest.approx(400 / figures["seconds"], rel=0.5)
    assert ("bottleneck" in done.stderr) is (generator == "grpcio")


def test_bench_stops_after_its_time(limiter: Running) -> None:
    """And prints for people as well."""
    arguments = ("--duration", "1s", "--streams", "2", "--connections", "1")
    done = ratelimitd("bench", "--target", limiter["grpc"], *arguments, "api_key=loader")
    assert done.returncode == 0
    assert "decisions/s" in done.stdout
    assert "p99.9" in done.stdout


def test_bench_without_h2load_says_what_it_measures(limiter: Running) -> None:
    """Where it is not installed, this process makes the load, and its figures are its own."""
    env = {"PATH": ""}
    arguments = ("--requests", "50", "--json", "api_key=loader")
    done = ratelimitd("bench", "--target", limiter["grpc"], *arguments, env=env)
    assert json.loads(done.stdout)["generator"] == "grpcio"
    assert "install h2load" in done.stderr
    wanted = ratelimitd("bench", "--generator", "h2load", "a=b", env=env)
    assert wanted.returncode == 2
    assert "it is not installed" in wanted.stderr


def test_bench_takes_the_h2load_that_is_on_the_path(limiter: Running, tmp_path: Path) -> None:
    """What it reports is what is told: here a stand-in, so that the figures are known."""
    stand_in = tmp_path / "h2load"
    stand_in.write_text(f"#!{sys.executable}\n{_STAND_IN}")
    stand_in.chmod(0o755)
    arguments = ("--requests", "4", "--json", "api_key=loader")
    env = {"PATH": str(tmp_path)}
    done = ratelimitd("bench", "--target", limiter["grpc"], *arguments, env=env)
    assert done.returncode == 1
    assert json.loads(done.stdout) == {
        "generator": "h2load",
        "seconds": 2.0,
        "decisions": 3,
        "decisions_per_second": 1.5,
        "not_ok": 1,
        "latency_ms": {"p50": 2.0, "p99": 3.0, "p99.9": 3.0},
    }


_STAND_IN = """
import pathlib, sys
given = dict(argument.partition("=")[::2] for argument in sys.argv[1:])
assert pathlib.Path(given["--data"]).read_bytes()[:1] == b"\\0"
lines = ["0\\t200\\t3000", "0\\t200\\t1000", "0\\t200\\t2000", "0\\t500\\t9"]
pathlib.Path(given["--log-file"]).write_text("\\n".join(lines))
print("finished in 2.00s, 2 req/s, 1KB/s")
print("requests: 4 total, 4 started, 4 done, 3 succeeded, 1 failed, 0 errored, 0 timeout")
"""


@pytest.mark.parametrize("generator", GENERATORS)
def test_calls_without_a_decision_are_counted(generator: str) -> None:
    """A limiter that goes away under load leaves no figure that looks well."""
    with serving() as limiter:
        flags = ("--duration", "4s", "--generator", generator, "--json", "--target")
        process = subprocess.Popen(
            command("bench", *flags, limiter["grpc"], "api_key=loader"),
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        assert "loading" in process.stderr.readline()
        time.sleep(1)
        limiter.process.kill()
        _, err = process.communicate(timeout=60)
    assert process.returncode in {1, 69}
    assert "Traceback" not in err


def test_ctrl_c_ends_a_load(limiter: Running) -> None:
    """With the status that shells know, and without a word."""
    process = subprocess.Popen(
        command("bench", "--target", limiter["grpc"], "--duration", "60s", "api_key=loader"),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    assert "loading" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=STOPS_WITHIN)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
