"""A command line whose environment is empty, called in this process."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

import pytest

from ratelimitd.cli.environment import PREFIX
from ratelimitd.cli.program import run

if TYPE_CHECKING:
    from collections.abc import Callable


class Ran(NamedTuple):
    """What came of one command line."""

    status: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that this machine sets reaches a flag, nor does a test leave anything behind."""
    for name in [*filter(lambda name: name.startswith(PREFIX), os.environ), "NO_COLOR", "COLUMNS"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GRPC_VERBOSITY", "NONE")


@pytest.fixture
def ratelimitd(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run a command line: `ratelimitd("check", "policy.yaml")`."""

    def call(*arguments: object) -> Ran:
        status = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ran(status, captured.out, captured.err)

    return call
