"""One Redis or Valkey server: `single()`. It keeps nothing on disk unless asked to."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from tests.support.redis.binaries import Engine, binary
from tests.support.redis.daemon import LOOPBACK, Daemon

if TYPE_CHECKING:
    from collections.abc import Iterator

_OF_ENGINE: Final[dict[Engine, tuple[str, ...]]] = {
    "redis": (),
    "valkey": ("--enable-debug-command", "yes"),  # as Redis 6.2 has it: for DEBUG SLEEP
}


class Server(Daemon):
    """A server that listens on loopback and on a unix socket."""

    def __init__(self, engine: Engine = "redis", *args: str, password: str | None = None) -> None:
        super().__init__((str(binary(engine)),), password)
        self.engine = engine
        self._args = (*_OF_ENGINE[engine], *args)
        if password is not None:
            self._args = ("--requirepass", password, "--masterauth", password, *self._args)

    def arguments(self) -> tuple[str, ...]:
        """Return its settings: what was given wins over what is usual here."""
        places = ("--bind", LOOPBACK, "--port", str(self.port), "--dir", str(self.folder))
        usual = ("--unixsocket", str(self.unix), "--save", "", "--appendonly", "no")
        return (*places, *usual, *self._args)

    @property
    def unix(self) -> str:
        """The path of its unix socket."""
        return str(self.folder / "socket")

    @property
    def url(self) -> str:
        """`redis://127.0.0.1:PORT`, with the password if it has one."""
        return f"redis://{self._secret}{self.address}"

    @property
    def unix_url(self) -> str:
        """`unix:///path/socket`, with the password if it has one."""
        return f"unix://{self._secret}{self.unix}"

    @property
    def _secret(self) -> str:
        return f":{self.password}@" if self.password else ""

    def flush(self) -> None:
        """Forget all keys and scripts, users and settings made by a test stay."""
        with self.client() as client:
            client.flushall()
            client.script_flush()


@contextlib.contextmanager
def single(engine: Engine = "redis", *args: str, password: str | None = None) -> Iterator[Server]:
    """Run one server; `args` are flags of its own, as `("--maxmemory", "1mb")`. Gone on exit."""
    with Server(engine, *args, password=password) as server:
        yield server
