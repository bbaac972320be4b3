"""What an installed ratelimitd has beside its modules: the wheel is built, and its list is read."""

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.architecture.source import ROOT

PACKAGE = ROOT / "server/ratelimitd"
DATA = ("*.lua", "*.yaml", "*.pyi", "py.typed")


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Every file of a wheel that is built from this checkout."""
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run([*command, "--directory", target], cwd=ROOT, check=True, capture_output=True)
    (wheel,) = target.glob("*.whl")
    return set(ZipFile(wheel).namelist())


def _below(folder: Path, *patterns: str) -> set[str]:
    found = (path for pattern in patterns for path in folder.rglob(pattern) if path.is_file())
    return {path.relative_to(folder).as_posix() for path in found}


def test_the_wheel_carries_the_configurations_of_the_demo(contents: set[str]) -> None:
    """`ratelimitd dev` finds its sample policy and Envoy's configuration without a checkout."""
    configurations = _below(ROOT / "envoy", "*.yaml")
    assert configurations
    assert {f"ratelimitd/_data/envoy/{name}" for name in configurations} <= contents


def test_the_wheel_carries_what_lies_beside_the_modules(contents: set[str]) -> None:
    """Scripts, samples and stubs, and the mark that says the package is typed."""
    data = _below(PACKAGE, *DATA)
    assert "py.typed" in data
    assert {f"ratelimitd/{name}" for name in data} <= contents


def test_the_wheel_carries_nothing_but_the_package(contents: set[str]) -> None:
    """No test, no protocol source and no second top-level package is installed."""
    tops = {name.split("/")[0] for name in contents}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"ratelimitd"}
