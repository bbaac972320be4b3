"""The Redis and Valkey servers of the tests keep what tests/support/redis promises of them."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from tests.support.redis import binaries
from tests.support.redis.acl import acl_user
from tests.support.redis.binaries import Engine
from tests.support.redis.daemon import StartError, wait_for
from tests.support.redis.fixtures import emptied
from tests.support.redis.server import Server, single

ROOT = Path(__file__).parents[2]
VERSIONS = {"redis": "redis_version", "valkey": "valkey_version"}


def gone(pid: int) -> bool:
    """Tell whether a process has ended, collected by its parent or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] == "Z"
    except OSError:
        return True


class TestOneServer:
    def test_it_is_what_it_says(self, any_server: Server, engine: Engine) -> None:
        """A test that names an engine gets that engine, in a version that we promise."""
        info = any_server.client().info("server")
        assert any_server.engine == engine
        assert int(info[VERSIONS[engine]].split(".")[0]) >= {"redis": 6, "valkey": 8}[engine]
        assert info["process_id"] == any_server.pid

    def test_it_is_reached_by_its_urls(self, any_server: Server) -> None:
        """Both URLs lead to the same server."""
        with redis.Redis.from_url(any_server.url, protocol=2) as tcp:
            tcp.set("k", "v")
        with redis.Redis.from_url(any_server.unix_url, protocol=2) as unix:
            assert unix.get("k") == b"v"

    @pytest.mark.parametrize("left", ["running", "paused", "killed"])
    def test_it_is_fit_for_the_next_test(self, own_server: Server, left: str) -> None:
        """What the test before wrote is gone, and so is what it did to the server."""
        own_server.client().set("k", "v")
        if left == "paused":
            own_server.pause()
        elif left == "killed":
            own_server.kill()
        assert emptied(own_server).client().dbsize() == 0

    def test_a_paused_one_is_silent_and_goes_on(self, own_server: Server) -> None:
        """A pause keeps connections open, and what was asked meanwhile is answered after it."""
        client = own_server.client(socket_timeout=0.1)
        client.ping()
        with own_server.paused(), pytest.raises(redis.TimeoutError):
            client.ping()
        assert own_server.client().ping()

    def test_a_killed_one_refuses_until_it_is_restarted(self, own_server: Server) -> None:
        """A restart keeps the port and is another process; what was not kept is gone."""
        client, port, first = own_server.client(), own_server.port, own_server.pid
        client.set("k", "v")
        own_server.kill()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        own_server.restart()
        assert own_server.port == port
        assert own_server.pid != first
        assert client.get("k") is None

    def test_a_restart_keeps_the_folder(self, engine: Engine) -> None:
        """A server that keeps its data has them after a kill."""
        with single(engine, "--appendonly", "yes") as server:
            server.client().set("k", "v")
            server.restart()
            assert server.client().get("k") == b"v"

    def test_a_password_is_in_the_url(self, engine: Engine) -> None:
        """Who has the URL is let in, others are not."""
        with single(engine, password="sesame") as server:
            with redis.Redis.from_url(server.url, protocol=2) as client:
                assert client.ping()
            with pytest.raises(redis.AuthenticationError):
                server.client(password=None).ping()

    def test_a_user_may_do_what_it_was_given(self, any_server: Server) -> None:
        """Every other command and every other key is refused."""
        user = acl_user(any_server, commands=["get", "set"], keys=["rl1:*"])
        with redis.Redis.from_url(user.url, protocol=2) as client:
            client.set("rl1:a", 1)
            for command in (("SET", "other", "1"), ("DEL", "rl1:a")):
                with pytest.raises(redis.exceptions.NoPermissionError):
                    client.execute_command(*command)

    def test_it_is_gone_afterwards(self, engine: Engine) -> None:
        """No process and no file stays, not even of one that was paused."""
        with single(engine) as server:
            server.pause()
            pid, folder = server.pid, server.folder
        assert gone(pid)
        assert not folder.exists()

    def test_it_dies_with_the_tests(self, tmp_path: Path) -> None:
        """After a `kill -9` of the tests nobody is left who could stop it."""
        program = (
            "import os; from tests.support.redis.server import Server\n"
            "print(Server().__enter__().pid, flush=True); os.kill(os.getpid(), 9)"
        )
        killed = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(tmp_path)},
            capture_output=True,
            check=False,
        )
        assert killed.returncode == -9, killed.stderr
        pid = int(killed.stdout)
        wait_for(lambda: gone(pid), f"process {pid} is gone")

    def test_it_starts_quickly(self, engine: Engine) -> None:
        """Tests may have a server each: 0.02 to 0.05 s for one where nothing else runs."""
        took = []
        for _ in range(3):
            begun = time.monotonic()
            with single(engine):
                took.append(time.monotonic() - begun)
        assert min(took) < 1

    def test_a_setting_that_it_refuses_is_told(self, engine: Engine) -> None:
        """A server that cannot start says why, at once."""
        with pytest.raises(StartError, match="nonsense"), single(engine, "--nonsense", "yes"):
            pass


def test_a_missing_program_ends_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One clear message and a failure: tests left out would look like tests that passed."""
    monkeypatch.setenv("RATELIMITD_TEST_REDIS", str(tmp_path / "absent"))
    with pytest.raises(pytest.exit.Exception, match=r"RATELIMITD_TEST_REDIS=.*absent") as ended:
        binaries.binary("redis")
    assert ended.value.returncode == 1
