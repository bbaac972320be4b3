"""`ratelimitd dev --store redis`: the demo with a Redis of its own, which ends with it."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.e2e.support import fleet
from tests.e2e.support.cli import ANYWHERE, STOPS_WITHIN, children, running

DEV = ("dev", *ANYWHERE, "--store", "redis")


def test_it_counts_in_a_redis_of_its_own() -> None:
    """Ready means that it counts; nobody else's Redis is asked for, and none is left behind."""
    with running(*DEV) as demo:
        (server,) = children(demo.process.pid)
        assert fleet.decides(demo["grpc"], 3)
        before = fleet.told(demo["grpc"], fleet.SAMPLE_CALL).remaining
        assert fleet.decides(demo["grpc"], 2)
        assert fleet.told(demo["grpc"], fleet.SAMPLE_CALL).remaining == before - 2
        assert demo.stop(signal.SIGINT)[0] == 0
        assert not fleet.runs(server)


def test_a_kill_leaves_no_redis() -> None:
    """`kill -9` gives nobody a chance to stop it."""
    with running(*DEV) as demo:
        (server,) = children(demo.process.pid)
        demo.process.kill()
        demo.process.wait(STOPS_WITHIN)
        fleet.wait_until(lambda: not fleet.runs(server), "Redis is gone")


@pytest.mark.parametrize(
    ("plant", "told"),
    [
        ("redis_server.WHEEL = 'no-such-wheel'", "no Redis here: the package no-such-wheel is"),
        ("redis_server.find_server = lambda: '/bin/false'", "Redis ended at once, with status 1"),
    ],
)
def test_a_redis_that_cannot_be_had_is_one_sentence(plant: str, told: str) -> None:
    """With the flag that names another, and nothing is left running."""
    code = (
        f"import sys\nfrom ratelimitd.devkit import redis_server\n{plant}\n"
        f"from ratelimitd.cli.program import run\nsys.exit(run({list(DEV)!r}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: --store redis: {told}")
