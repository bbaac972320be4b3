"""Every flag from the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ratelimitd.cli import values
from ratelimitd.cli.environment import variable
from ratelimitd.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.cli.conftest import Ran

pytestmark = pytest.mark.usefixtures("asked")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `serve` asked for; it ends there, with status 2."""
    seen: dict[str, Any] = {}

    def settings(**wanted: object) -> None:
        seen.update(wanted)
        raise SettingsError("asked")

    monkeypatch.setattr(values, "settings", settings)
    return seen


def test_a_variable_fills_a_flag(
    ratelimitd: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any]
) -> None:
    """RATELIMITD_<FLAG>, with an underscore for each hyphen."""
    monkeypatch.setenv("RATELIMITD_POLICY", "p.yaml")
    monkeypatch.setenv("RATELIMITD_SECRET_FILE", "s")
    monkeypatch.setenv("RATELIMITD_LISTEN", "127.0.0.1:1, unix:/x")
    assert ratelimitd("serve").status == 2
    assert str(asked["policy"]) == "p.yaml"
    assert str(asked["secret_file"]) == "s"
    assert asked["listen"] == ["127.0.0.1:1", "unix:/x"]


def test_the_command_line_wins(
    ratelimitd: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any]
) -> None:
    """What was typed is meant; a variable may be left over."""
    monkeypatch.setenv("RATELIMITD_HTTP", "127.0.0.1:1")
    monkeypatch.setenv("RATELIMITD_LISTEN", "127.0.0.1:1")
    flags = ("--http", "127.0.0.1:2", "--listen", "127.0.0.1:3", "--listen", "127.0.0.1:4")
    ratelimitd("serve", "--policy", "p.yaml", *flags)
    assert asked["http"] == "127.0.0.1:2"
    assert asked["listen"] == ["127.0.0.1:3", "127.0.0.1:4"]


def test_an_empty_variable_counts_as_not_set(
    ratelimitd: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any]
) -> None:
    """Compose files write `RATELIMITD_SECRET_FILE=` for none."""
    monkeypatch.setenv("RATELIMITD_SECRET_FILE", "")
    ratelimitd("serve", "--policy", "p.yaml")
    assert asked.get("secret_file") is None


@pytest.mark.parametrize(
    "name",
    [
        "RATELIMITD_PORT",
        "RATELIMITD_SERVICE_HOST",
        "RATELIMITD_PORT_8081_TCP_ADDR",
        "RATELIMITD_HTTP_PORT",
        "RATELIMITD_ADMIN_SERVICE_HOST",
        "RATELIMITD_STORE_PORT_6379_TCP",
    ],
)
def test_what_kubernetes_sets_is_left_alone(
    ratelimitd: Callable[..., Ran],
    monkeypatch: pytest.MonkeyPatch,
    asked: dict[str, Any],
    name: str,
) -> None:
    """Every service of the name `ratelimitd…` brings such variables into every container."""
    ratelimitd("serve", "--policy", "p.yaml")
    without = dict(asked)
    monkeypatch.setenv(name, "tcp://10.0.0.1:8081")
    ratelimitd("serve", "--policy", "p.yaml")
    assert asked == without


def test_a_fault_in_a_variable_names_the_variable(
    ratelimitd: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody finds a fault in a flag that they did not type."""
    monkeypatch.setenv("RATELIMITD_TRANSPORT", "carrier-pigeon")
    ran = ratelimitd("serve", "--policy", "p.yaml")
    assert ran.status == 2
    assert "RATELIMITD_TRANSPORT" in ran.err


def test_the_name_of_a_variable() -> None:
    """The help and the tests of other files have it from here."""
    assert variable("--log-format") == "RATELIMITD_LOG_FORMAT"
