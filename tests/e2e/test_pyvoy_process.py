"""`serve --transport pyvoy` as a process: one, whose end leaves nothing, and what it cannot do.

What it has in common with the other transports is in `test_cli_serve` and `test_drain`.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from ratelimitd.errors import SettingsError
from ratelimitd.transports import pyvoy_launch
from ratelimitd.transports.sockets import IN_USE
from tests.e2e.support.cli import (
    ANYWHERE,
    FREE,
    SAMPLE,
    STOPS_WITHIN,
    Running,
    children,
    command,
    environment,
    ratelimitd,
    running,
    serving,
)
from tests.e2e.support.limiter import AS_SHIPPED
from tests.support.interpreters import interpreter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PYVOY = ("--transport", "pyvoy")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the process keeps its temporary files."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    return folder


@pytest.fixture
def limiter(folder: Path, tmp_path: Path) -> Iterator[Running]:
    """A limiter with a socket of its own, and 60 s of drain."""
    listen = ("--listen", "127.0.0.1:0", "--listen", f"unix:{tmp_path / 'grpc.sock'}")
    env = {"TMPDIR": str(folder)}
    with serving(*PYVOY, *listen, "--drain", "60s", env=env) as process:
        yield process


def can_listen(address: str) -> bool:
    """Say whether a port is free."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_server((host, int(port))):
            return True
    except OSError:
        return False


def get(address: str, path: str) -> int:
    """Return the status of a GET."""
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def test_it_is_one_process_and_keeps_no_file(limiter: Running, folder: Path) -> None:
    """Envoy has taken the place of the process that was started; its admin socket is gone."""
    assert children(limiter.process.pid) == set()
    assert limiter.process.pid in children(os.getpid())
    assert list(folder.iterdir()) == []


def test_all_addresses_have_one_limiter(limiter: Running) -> None:
    """What is charged by TCP is missed on the unix socket: there is one application."""
    targets = [address for name, address in limiter.places if name == "grpc"]
    assert [target.partition(":")[0] for target in targets] == ["127.0.0.1", "127.0.0.1", "unix"]
    for left, target in enumerate(targets, 1):
        done = ratelimitd("decide", "--target", target, "api_key=k", "--hits", "2")
        assert f"{10 - 2 * left} of 10 left" in done.stdout


@pytest.mark.parametrize("again", [False, True])
def test_an_orderly_end_leaves_nothing(limiter: Running, tmp_path: Path, *, again: bool) -> None:
    """No port, no socket file, no line but ours; a second signal cuts a drain of 60 s short."""
    began = time.monotonic()
    if again:
        limiter.send(signal.SIGTERM)
        while get(limiter["http"], "/readyz") != 503:
            time.sleep(0.02)
    status, err = limiter.stop(signal.SIGINT)
    assert time.monotonic() - began < 10
    assert status == (128 + signal.SIGINT if again else 0)
    assert all(line.startswith("time=") for line in err.splitlines()), err
    assert "envoy" not in err
    assert can_listen(limiter["grpc"])
    assert not (tmp_path / "grpc.sock").exists()


def test_a_kill_leaves_nothing_that_runs(limiter: Running, folder: Path) -> None:
    """There is no second process to be forgotten, and the next start takes the socket over."""
    limiter.process.kill()
    limiter.process.wait(STOPS_WITHIN)
    assert can_listen(limiter["grpc"])
    assert list(folder.iterdir()) == []
    (target,) = (address for _, address in limiter.places if address.startswith("unix:"))
    with serving(*PYVOY, "--listen", target):
        assert ratelimitd("decide", "--target", target, "api_key=k").returncode == 0


def refusal(*arguments: object, status: int = 2) -> str:
    """Return the last line on stderr of a `serve` that does not start."""
    done = ratelimitd("serve", "--policy", SAMPLE, *PYVOY, *ANYWHERE, *arguments)
    assert (done.returncode, done.stdout) == (status, "")
    return done.stderr.splitlines()[-1]


def test_a_socket_in_use_and_a_file_are_left_alone(tmp_path: Path) -> None:
    """Envoy itself would remove either and take its name."""
    path = tmp_path / "precious"
    listen = ("--listen", f"unix:{path}")
    path.write_text("data")
    assert refusal(*listen).endswith("the file exists, and is no socket")
    assert path.read_text() == "data"
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        assert IN_USE in refusal(*listen)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
    assert "no folder" in refusal("--listen", f"unix:{tmp_path / 'none' / 'x.sock'}")


def test_a_port_that_is_taken_meanwhile_ends_it_too() -> None:
    """Between our look and Envoy's: Envoy's own words, then ours, and the status of any other."""
    unseeing = f"""
from ratelimitd.transports import pyvoy_launch
pyvoy_launch.available = lambda address: address
{AS_SHIPPED}
"""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = ("--listen", f"127.0.0.1:{taken.getsockname()[1]}")
        places = (*listen, "--http", FREE, "--admin", FREE)
        done = subprocess.run(
            [interpreter("pyvoy"), "-c", unseeing, "serve", *PYVOY, "--policy", SAMPLE, *places],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=STOPS_WITHIN,
            check=False,
        )
    assert (done.returncode, done.stdout) == (2, "")
    *_, theirs, ours = done.stderr.splitlines()
    assert "Address already in use" in theirs
    assert ours == "error: --listen: Envoy has given up; it said why above"


def test_faults_found_inside_envoy_read_like_any_other(tmp_path: Path, folder: Path) -> None:
    """A policy's faults and a store's, by their exit status; and no temporary file stays."""
    (tmp_path / "p.yaml").write_text("domain: d\nsubject: {}\ntiers: {}\nlimts: 1\n")
    env = {"TMPDIR": str(folder)}
    done = ratelimitd("serve", "--policy", tmp_path / "p.yaml", *PYVOY, *ANYWHERE, env=env)
    assert (done.returncode, done.stdout) == (1, "")
    assert "limts" in done.stderr
    assert "^^^^^" in done.stderr
    assert refusal("--store", f"file:{tmp_path / 'none' / 'counts.db'}").startswith("error: ")
    assert list(folder.iterdir()) == []


def test_counts_in_a_file_outlive_the_process(tmp_path: Path) -> None:
    """The store is written before Envoy's process ends."""
    store = ("--store", f"file:{tmp_path / 'counts'}")
    decide = ("decide", "api_key=k", "--hits", "4", "--target")
    with serving(*PYVOY, *store) as limiter:
        assert ratelimitd(*decide, limiter["grpc"]).returncode == 0
        assert limiter.stop()[0] == 0
    with serving(*PYVOY, *store) as limiter:
        assert "2 of 10 left" in ratelimitd(*decide, limiter["grpc"]).stdout


def test_logs_are_json_where_json_was_asked_for() -> None:
    """Ours and Envoy's, line by line."""
    with serving(*PYVOY, "--log-format", "json") as limiter:
        _, err = limiter.stop()
        assert all(line.startswith("{") for line in err.splitlines()), err


def test_sighup_reads_the_policy_again(tmp_path: Path) -> None:
    """Signals are the limiter's, not Envoy's, to which SIGHUP means nothing."""
    file = tmp_path / "p.yaml"
    policy = "domain: d\nsubject: {{default_tier: t}}\ntiers: {{t: {{requests: {}/year}}}}\n"
    file.write_text(policy.format(7))
    with running("serve", "--policy", file, *PYVOY, *ANYWHERE) as limiter:
        peek = ("decide", "--domain", "d", "--peek", "--target", limiter["grpc"], "api_key=k")
        assert " of 7 left" in ratelimitd(*peek).stdout
        file.write_text(policy.format(8))
        limiter.send(signal.SIGHUP)
        end = time.monotonic() + STOPS_WITHIN
        while " of 8 left" not in ratelimitd(*peek).stdout:
            assert time.monotonic() < end


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of the tests has another Envoy, and no pyvoy."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r"pip install '\.\[pyvoy\]'"):
        pyvoy_launch.find_parts()


def test_a_python_without_its_library_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Debian ships it apart from Python, and a Python may be built without."""
    monkeypatch.setattr("sysconfig.get_config_var", lambda _: str(tmp_path))
    monkeypatch.setattr("sys.base_exec_prefix", str(tmp_path))
    with pytest.raises(SettingsError, match=r"apt install libpython3\.\d+;"):
        pyvoy_launch._libpython()


def test_the_command_runs_where_pyvoy_is() -> None:
    """The tests' own helper: without it, all of these would see one sentence only."""
    assert command("serve", *PYVOY)[0] != command("serve")[0]
