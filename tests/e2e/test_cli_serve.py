"""`serve` as a real process: its ready line, its signals, its end."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import time
from typing import TYPE_CHECKING

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from ratelimitd.cli._client import OPTIONS
from ratelimitd.rpc.ask import METHOD, decode, encode
from tests.e2e.support.cli import (
    ANYWHERE,
    FREE,
    SAMPLE,
    Running,
    children,
    ratelimitd,
    running,
    serving,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ratelimitd.rpc.ask import Answer

TRANSPORTS = ("h2corn", "grpcio", "pyvoy")
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
QUESTION = encode("agent-api", [("api_key", "demo-team"), ("route", "invoke")], None)


def get(address: str, path: str) -> int:
    """Return the status of a GET."""
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def ask(channel: grpc.Channel) -> Answer:
    """Ask for one decision."""
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
    return decode(call(QUESTION, timeout=5))


@pytest.fixture(params=TRANSPORTS)
def limiter(request: pytest.FixtureRequest) -> Iterator[Running]:
    """A limiter with a drain that a test can look at."""
    with serving("--transport", request.param, "--drain", "2s") as process:
        yield process


@pytest.fixture
def channel(limiter: Running) -> Iterator[grpc.Channel]:
    """A connection to it."""
    with grpc.insecure_channel(limiter["grpc"], options=OPTIONS) as channel:
        yield channel


def test_the_ready_line_names_every_address(tmp_path: Path) -> None:
    """In the order of the flags, free ports resolved; what is named answers at once."""
    unix = f"unix:{tmp_path / 'limiter.sock'}"
    with serving("--listen", unix) as limiter:
        names = [name for name, _ in limiter.places]
        assert names == ["grpc", "grpc", "http", "admin"]
        assert limiter.places[1][1] == unix
        assert not any(address.endswith(":0") for _, address in limiter.places)
        for target in (limiter["grpc"], unix):
            assert ratelimitd("decide", "--target", target, "api_key=demo-pro").returncode == 0
        assert [get(limiter["http"], path) for path in ("/healthz", "/readyz")] == [200, 200]
        assert get(limiter["admin"], "/metrics") == 200
        assert get(limiter["http"], "/metrics") == 404


def test_nothing_else_is_on_stdout_and_the_log_is_on_stderr() -> None:
    """One line for scripts; the libraries greet nobody."""
    with serving() as limiter:
        status, err = limiter.stop()
        assert status == 0
        assert limiter.process.stdout is not None
        assert all(line.startswith("time=") for line in err.splitlines()), err
        assert "published development secret" in err


def test_a_secret_of_ones_own_needs_no_warning(tmp_path: Path) -> None:
    """The warning is for those whom it concerns; JSON logs are JSON in every line."""
    (tmp_path / "secret").write_text("0123456789abcdef0123456789abcdef\n")
    with serving("--secret-file", tmp_path / "secret", "--log-format", "json") as limiter:
        _, err = limiter.stop()
        assert "development secret" not in err
        assert all(line.startswith("{") for line in err.splitlines()), err


def test_flags_come_from_the_environment() -> None:
    """As the Dockerfile has them."""
    names = {"LISTEN": FREE, "HTTP": FREE, "ADMIN": FREE, "POLICY": str(SAMPLE)}
    env = {f"RATELIMITD_{name}": value for name, value in names.items()}
    with running("serve", env=env) as limiter:
        assert limiter.stop()[0] == 0


def test_sigterm_drains_then_stops(limiter: Running, channel: grpc.Channel) -> None:
    """Load balancers are told first; who comes nevertheless is served until the drain is over."""
    health = channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        health_pb2.HealthCheckRequest.SerializeToString,
        health_pb2.HealthCheckResponse.FromString,
    )
    watch = health(health_pb2.HealthCheckRequest(), timeout=20)
    assert next(watch).status == SERVING
    assert ask(channel).allowed
    start = time.monotonic()
    limiter.send(signal.SIGTERM)
    assert next(watch).status == NOT_SERVING
    assert get(limiter["http"], "/readyz") == 503
    assert get(limiter["http"], "/healthz") == 200
    assert ask(channel).allowed
    watch.cancel()
    assert limiter.end()[0] == 0
    assert time.monotonic() - start >= 1.9


def test_a_call_under_way_goes_on_while_it_drains(limiter: Running, channel: grpc.Channel) -> None:
    """A stream that was open before the signal is answered after it, and ends well."""
    reflect = channel.stream_stream(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        reflection_pb2.ServerReflectionRequest.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )

    def requests() -> Iterator[reflection_pb2.ServerReflectionRequest]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")
        limiter.send(signal.SIGTERM)
        while get(limiter["http"], "/readyz") != 503:
            time.sleep(0.02)
        yield reflection_pb2.ServerReflectionRequest(list_services="")

    answers = list(reflect(requests(), timeout=20))
    assert len(answers) == 2
    assert answers[0] == answers[1]
    assert limiter.end()[0] == 0


def test_ctrl_c_stops_without_draining() -> None:
    """Whoever sits in front of it does not wait."""
    with serving("--drain", "60s") as limiter:
        start = time.monotonic()
        assert limiter.stop(signal.SIGINT)[0] == 0
        assert time.monotonic() - start < 10


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_stops_at_once(second: signal.Signals) -> None:
    """The drain is cut short, and the status says that it was."""
    with serving("--drain", "60s") as limiter:
        start = time.monotonic()
        limiter.send(signal.SIGTERM)
        while get(limiter["http"], "/readyz") != 503:
            time.sleep(0.02)
        assert limiter.stop(second)[0] == 128 + second
        assert time.monotonic() - start < 10


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("flag", ["--listen", "--http", "--admin"])
def test_a_port_in_use_is_one_sentence(flag: str, transport: str) -> None:
    """With the flag that chooses another; and nothing is left running."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        places = {"--listen": FREE, "--http": FREE, "--admin": FREE, flag: address}
        flags = [part for pair in places.items() for part in pair]
        done = ratelimitd("serve", "--policy", SAMPLE, "--transport", transport, *flags)
    assert (done.returncode, done.stdout) == (2, "")
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"error: {flag}: cannot listen on {address}: ")
    assert "in use" in last


def test_a_store_that_cannot_be_opened_is_one_sentence(tmp_path: Path) -> None:
    """A folder in the file's place, a folder that is not there."""
    for path in (tmp_path, tmp_path / "none" / "counts.db"):
        done = ratelimitd("serve", "--policy", SAMPLE, *ANYWHERE, "--store", f"file:{path}")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.splitlines()[-1].startswith("error: ")


def test_counts_in_a_file_outlive_the_process(tmp_path: Path) -> None:
    """Stopped well, nothing is lost; and a second process keeps out."""
    (tmp_path / "p.yaml").write_text(policy(10))
    serve = ("--policy", tmp_path / "p.yaml", *ANYWHERE, "--store", f"file:{tmp_path / 'counts'}")
    decide = ("decide", "--domain", "d", "--json", "--target")
    with running("serve", *serve) as limiter:
        assert ratelimitd("serve", *serve).returncode == 2
        assert ratelimitd(*decide, limiter["grpc"], "api_key=k", "--hits", "4").returncode == 0
        assert limiter.stop()[0] == 0
    with running("serve", *serve) as limiter:
        answer = json.loads(ratelimitd(*decide, limiter["grpc"], "api_key=k", "--peek").stdout)
        assert answer["statuses"][0]["remaining"] == 6


def test_a_faulty_policy_is_not_served(tmp_path: Path) -> None:
    """The faults are shown as `check` shows them, on stderr: they are no data here."""
    (tmp_path / "p.yaml").write_text("domain: d\nsubject: {}\ntiers: {}\nlimts: 1\n")
    done = ratelimitd("serve", "--policy", tmp_path / "p.yaml", *ANYWHERE)
    assert (done.returncode, done.stdout) == (1, "")
    assert "limts" in done.stderr
    assert "^^^^^" in done.stderr


def policy(amount: int) -> str:
    """Return a policy with one limit."""
    return f"domain: d\nsubject: {{default_tier: t}}\ntiers: {{t: {{requests: {amount}/year}}}}\n"


def limit_of(limiter: Running) -> str:
    """Return the limit that a caller is shown."""
    arguments = ("--domain", "d", "--peek", "--target", limiter["grpc"], "api_key=k")
    line = ratelimitd("decide", *arguments).stdout.splitlines()[1]
    return line.split(" left")[0].split(" of ")[1]


def test_sighup_reads_the_policy_again(tmp_path: Path) -> None:
    """All or nothing: a faulty file changes nothing, and says why in the log."""
    file = tmp_path / "p.yaml"
    file.write_text(policy(1))
    with running("serve", "--policy", file, *ANYWHERE) as limiter:
        assert limit_of(limiter) == "1"
        file.write_text(policy(2))
        limiter.send(signal.SIGHUP)
        wait_for(limiter, "2")
        file.write_text(policy(3) + "limts: 1\n")
        limiter.send(signal.SIGHUP)
        file_was_read = time.monotonic() + 1
        while time.monotonic() < file_was_read:
            assert limit_of(limiter) == "2"
        status, err = limiter.stop()
        assert status == 0
        assert "limts" in err
        assert "the policy was not reloaded" in err


def wait_for(limiter: Running, limit: str) -> None:
    """Return when a caller is shown a limit."""
    end = time.monotonic() + 20
    while limit_of(limiter) != limit:
        assert time.monotonic() < end


def test_it_is_one_process() -> None:
    """Whoever supervises it has to know one only."""
    with serving() as limiter:
        assert children(limiter.process.pid) == set()
        assert limiter.process.pid in children(os.getpid())
