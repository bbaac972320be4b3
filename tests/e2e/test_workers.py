"""`serve --workers`: several processes that look like one to whoever starts and stops them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.e2e.support import fleet
from tests.e2e.support.cli import ANYWHERE, FREE, SAMPLE, Running, children, ratelimitd, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.support.redis.server import Server


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch, valkey_server: Server) -> str:
    """The server that all workers count in, named where nobody else can read it."""
    monkeypatch.setenv("E2E_STORE", valkey_server.url)
    return valkey_server.url


def serving(
    *arguments: object, policy: Path = SAMPLE, workers: int = 2, listen: Sequence[object] = (FREE,)
) -> AbstractContextManager[Running]:
    """Run `serve` with several workers on free ports."""
    env = {"RATELIMITD_STORE": os.environ["E2E_STORE"], "RATELIMITD_STORE_TIMEOUT": "5s"}
    places = [part for each in listen for part in ("--listen", each)]
    usual = (*places, "--http", FREE, "--admin", FREE, "--workers", workers)
    return running("serve", "--policy", policy, *usual, *arguments, env=env)


@contextlib.contextmanager
def leaving_nobody(limiter: Running) -> Iterator[None]:
    """Hold a fleet to its word: at the end of the block, no process of it is left."""
    pids = [limiter.process.pid, *children(limiter.process.pid)]
    assert len(pids) == 3
    yield
    fleet.wait_until(lambda: not any(map(fleet.runs, pids)), "nobody is left")


@pytest.mark.parametrize("transport", ["h2corn", "grpcio", "pyvoy"])
def test_one_ready_line_names_the_listeners_of_all(transport: str, tmp_path: Path) -> None:
    """In the order of the workers, once all answer; HTTP and admin are the first one's."""
    unix = f"unix:{tmp_path / 'limiter.sock'}"
    with serving("--transport", transport, listen=(FREE, unix)) as limiter:
        names = [name for name, _ in limiter.places]
        assert names == ["grpc", "grpc", "grpc", "grpc", "http", "admin"]
        places = fleet.listeners(limiter)
        assert places[1::2] == [unix, f"{unix}.1"]
        assert len(set(places)) == 4
        assert not any(place.endswith(":0") for place in places)
        assert all(map(fleet.decides, places))
        assert fleet.get(limiter["http"], "/readyz")[0] == 200
        with leaving_nobody(limiter):
            status, err = limiter.stop()
        assert status == 0
        assert err.count("published development secret") == 1


def test_worker_i_listens_on_the_port_plus_i() -> None:
    """So that Envoy's list of endpoints can be written down."""
    row = fleet.free_row(3)
    with serving(workers=3, listen=(row,)) as limiter:
        wanted = [str(row.of_worker(index)) for index in range(3)]
        assert fleet.listeners(limiter) == wanted
        assert limiter.stop(signal.SIGINT)[0] == 0


def test_all_count_in_one_store() -> None:
    """What one worker has charged, the other knows."""
    with serving() as limiter:
        first, second = fleet.listeners(limiter)
        assert fleet.decides(first, 3)
        before = fleet.told(second, fleet.SAMPLE_CALL).remaining
        assert fleet.decides(first, 2)
        assert fleet.told(second, fleet.SAMPLE_CALL).remaining == before - 2
        assert limiter.stop(signal.SIGINT)[0] == 0


def allowed(limiter: Running) -> list[tuple[float, float]]:
    """Return of each worker whether it told its counts, and how many calls it allowed."""
    figures = fleet.figures(limiter)
    names = (("ratelimitd_worker_up", ""), ("ratelimitd_decisions_total", "allowed"))
    up, passed = ([figures.get((name, at, label), 0) for at in (0, 1)] for name, label in names)
    return list(zip(up, passed, strict=True))


def test_the_counts_of_all_are_at_the_first_ones_admin_listener() -> None:
    """Told apart by a label: a worker that starts anew does not make a sum fall."""
    with serving() as limiter:
        first, second = fleet.listeners(limiter)
        assert fleet.decides(first)
        assert fleet.decides(second)
        assert fleet.decides(second)
        fleet.wait_until(lambda: allowed(limiter) == [(1, 1), (1, 2)], "each tells its own")
        assert limiter.stop(signal.SIGINT)[0] == 0


def test_sigterm_drains_every_worker_though_each_is_told_as_well() -> None:
    """As systemd does it: every process gets the signal, and the drain is not cut short."""
    with serving("--drain", "2s") as limiter:
        start = time.monotonic()
        with leaving_nobody(limiter):
            pids = fleet.workers(limiter.process.pid).values()
            for pid in (limiter.process.pid, *pids):
                os.kill(pid, signal.SIGTERM)
            fleet.wait_until(lambda: fleet.get(limiter["http"], "/readyz")[0] != 200, "told")
            assert limiter.end()[0] == 0
        assert time.monotonic() - start >= 1.9


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_stops_all_at_once(second: signal.Signals) -> None:
    """The drain is cut short, and the status says that it was."""
    with serving("--drain", "60s") as limiter, leaving_nobody(limiter):
        start = time.monotonic()
        limiter.send(signal.SIGTERM)
        fleet.wait_until(lambda: fleet.get(limiter["http"], "/readyz")[0] == 503, "it drains")
        assert limiter.stop(second)[0] == 128 + second
        assert time.monotonic() - start < 20


def policy(amount: int) -> str:
    """Return a policy with one limit."""
    return f"domain: d\nsubject: {{default_tier: t}}\ntiers: {{t: {{requests: {amount}/year}}}}\n"


def shows(target: str, limit: int) -> bool:
    """Say whether a worker shows a caller this limit."""
    return fleet.told(target, ("d", [("api_key", "k")])).amount == limit


def is_back(limiter: Running, index: int) -> bool:
    """Say whether a worker serves in its second life."""
    figures = fleet.figures(limiter)
    wanted = ("ratelimitd_ready", "ratelimitd_worker_restarts_total")
    return [figures.get((name, index, "")) for name in wanted] == [1, 1]


def test_sighup_reads_the_policy_again_in_every_worker(tmp_path: Path) -> None:
    """Or two workers would decide by two policies."""
    file = tmp_path / "p.yaml"
    file.write_text(policy(1))
    with serving(policy=file) as limiter:
        file.write_text(policy(2))
        limiter.send(signal.SIGHUP)
        for target in fleet.listeners(limiter):
            fleet.wait_until(partial(shows, target, 2), f"{target} has read it")
        assert limiter.stop(signal.SIGINT)[0] == 0


@pytest.mark.parametrize("transport", ["h2corn", "grpcio"])
def test_a_worker_that_is_killed_comes_back_where_it_was(transport: str) -> None:
    """Envoy has its address in a list; the other one serves meanwhile, and operators see it."""
    with serving("--transport", transport) as limiter:
        first, second = fleet.listeners(limiter)
        for index in (1, 0):
            victim = fleet.workers(limiter.process.pid)[index]
            os.kill(victim, signal.SIGKILL)
            assert fleet.decides(first if index else second)
            fleet.wait_until(partial(is_back, limiter, index), f"worker {index} is back")
            assert fleet.decides(first)
            assert fleet.decides(second)
        status, err = limiter.stop(signal.SIGINT)
        assert status == 0
        assert err.count("a worker ended by itself and is started again") == 2


def test_a_worker_that_ends_again_and_again_ends_them_all() -> None:
    """Whoever supervises the supervisor is told by the status."""
    with serving() as limiter, leaving_nobody(limiter):
        killed = set[int]()
        while limiter.process.poll() is None:
            victim = fleet.workers(limiter.process.pid).get(1)
            if victim is not None and victim not in killed and len(killed) < 5:
                killed.add(victim)
                os.kill(victim, signal.SIGKILL)
            time.sleep(0.01)
        status, err = limiter.end()
        assert status == 1
        assert len(killed) == 5
        assert "a worker ends again and again: giving up" in err


def test_a_supervisor_that_is_killed_leaves_nobody() -> None:
    """`kill -9` gives it no chance to stop them, and they would answer for ever."""
    with serving() as limiter, leaving_nobody(limiter):
        limiter.process.kill()
        limiter.process.wait()


def test_a_taken_port_of_one_worker_ends_all_with_one_sentence() -> None:
    """Nothing was printed for scripts, and nothing is left running."""
    row = fleet.free_row(2)
    taken = row.of_worker(1)
    with socket.create_server((taken.host, taken.port)):
        places = ("--listen", row, "--http", FREE, "--admin", FREE)
        done = refused(*places)
        last = done[-1]
        assert last.startswith(f"error: --listen: cannot listen on {taken}: ")
        assert "in use" in last
    socket.create_server((row.host, row.port)).close()


def test_what_all_workers_object_to_is_said_once(tmp_path: Path) -> None:
    """A faulty policy has the exit status that it has without workers."""
    (tmp_path / "p.yaml").write_text("domain: d\nsubject: {}\ntiers: {}\nlimts: 1\n")
    told = refused(*ANYWHERE, policy=tmp_path / "p.yaml", status=1)
    assert sum("limts: 1" in line for line in told) == 1


def refused(*arguments: object, policy: Path = SAMPLE, status: int = 2) -> list[str]:
    """Run two workers that cannot serve; return the lines of stderr."""
    env = {"RATELIMITD_STORE": os.environ["E2E_STORE"]}
    done = ratelimitd("serve", "--policy", policy, *arguments, "--workers", "2", env=env)
    assert (done.returncode, done.stdout) == (status, "")
    return done.stderr.splitlines()
