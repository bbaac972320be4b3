"""The ASGI application: its settings from an environment, and its lifespan."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ratelimitd.asgi import NO_LIFESPAN, Application, settings_from
from ratelimitd.devkit.samples import samples_dir
from ratelimitd.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "0123456789abcdef"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The least that an environment must hold."""
    (tmp_path / "secret").write_text(SECRET)
    return {
        "RATELIMITD_POLICY": str(samples_dir() / "policy.yaml"),
        "RATELIMITD_SECRET_FILE": str(tmp_path / "secret"),
    }


def test_settings_are_those_of_serve(environ: dict[str, str]) -> None:
    """Names and meanings are those of the command line; an empty one counts as not set."""
    settings = settings_from(environ | {"RATELIMITD_STORE": ""})
    assert settings.store == "memory"
    assert settings.secrets == (SECRET.encode(),)
    assert settings_from(environ | {"RATELIMITD_STORE": "file:x"}).store == "file:x"
    assert settings.store_timeout == 0.012
    assert settings_from(environ | {"RATELIMITD_STORE_TIMEOUT": "8ms"}).store_timeout == 0.008


def test_all_that_is_missing_is_told_at_once() -> None:
    """A secret too: this application cannot see whether its server's address is loopback."""
    with pytest.raises(SettingsError) as refused:
        settings_from({"RATELIMITD_POLICY": ""})
    assert [line.split(" ")[0] for line in str(refused.value).splitlines()] == [
        "RATELIMITD_POLICY",
        "RATELIMITD_SECRET_FILE",
    ]


class Server:
    """An ASGI server's side of a lifespan."""

    def __init__(self) -> None:
        self.messages = ["lifespan.startup", "lifespan.shutdown"]
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        """Give the next message."""
        return {"type": self.messages.pop(0)}

    async def send(self, message: Any) -> None:  # noqa: ANN401 - an ASGI message
        """Take a message."""
        self.sent.append(dict(message))

    async def run(self, environ: dict[str, str]) -> list[str]:
        """Run a whole lifespan; return the types of what came."""
        await Application(environ)({"type": "lifespan"}, self.receive, self.send)
        return [message["type"] for message in self.sent]


async def test_a_lifespan_starts_and_stops(environ: dict[str, str]) -> None:
    """The store is open in between, and closed after it."""
    types = await Server().run(environ)
    assert types == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("RATELIMITD_POLICY", "", "RATELIMITD_POLICY is not set"),
        ("RATELIMITD_POLICY", "/nonexistent/p.yaml", "cannot be read"),
        ("RATELIMITD_SECRET_FILE", "/nonexistent/s", "No such file"),
        ("RATELIMITD_STORE", "file:/nonexistent/counts", "/nonexistent"),
    ],
)
async def test_what_cannot_work_fails_the_startup_in_words(
    environ: dict[str, str], name: str, value: str, told: str
) -> None:
    """The server shows the message; nothing listens as if all were well."""
    server = Server()
    assert await server.run(environ | {name: value}) == ["lifespan.startup.failed"]
    assert told in json.dumps(server.sent)


async def test_a_server_without_lifespan_is_told() -> None:
    """It would serve no policy at all."""
    server = Server()
    with pytest.raises(RuntimeError, match=NO_LIFESPAN):
        await Application({})({"type": "http"}, server.receive, server.send)
