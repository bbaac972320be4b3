"""The stubs in `ratelimitd._gen` are what `proto/generate.py` makes of `proto/`.

The generator and the imports run in processes of their own: the descriptor pool of a process is
global and keeps whatever was once loaded into it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
GENERATOR = REPOSITORY / "proto" / "generate.py"
STUBS = REPOSITORY / "server" / "ratelimitd" / "_gen"
RLS_STUB = "envoy/service/ratelimit/v3/rls_pb2.py"

IMPORT_EVERYTHING = """
import importlib, pathlib, pickle, pkgutil, sys
import ratelimitd._gen as stubs

for module in pkgutil.walk_packages(stubs.__path__, stubs.__name__ + "."):
    loaded = importlib.import_module(module.name)
    if module.name.endswith("_pb2"):
        own_path = module.name.removeprefix(stubs.__name__ + ".").replace(".", "/")
        assert loaded.DESCRIPTOR.name == own_path.removesuffix("_pb2") + ".proto", loaded.DESCRIPTOR
        for name in loaded.DESCRIPTOR.message_types_by_name:
            message = getattr(loaded, name)()
            assert pickle.loads(pickle.dumps(message)) == message
        print(loaded.DESCRIPTOR.name)
assert "envoy" not in sys.modules
"""


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run this Python with warnings as errors."""
    command = [sys.executable, "-W", "error", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def check(stubs: Path) -> tuple[int, list[str]]:
    """Return the exit code of `--check` on a directory of stubs, and the lines that it prints."""
    done = run_python(str(GENERATOR), "--check", "--output", str(stubs))
    return done.returncode, done.stdout.splitlines()


@pytest.fixture
def copied_stubs(tmp_path: Path) -> Path:
    """Return a copy of the stubs that a test may spoil."""
    ignored = shutil.ignore_patterns("__pycache__")
    return shutil.copytree(STUBS, tmp_path / "_gen", ignore=ignored)


def test_the_committed_stubs_are_fresh() -> None:
    """Generating again from `proto/` gives the committed files, byte for byte."""
    assert check(STUBS) == (0, [])


def test_check_names_a_changed_stub(copied_stubs: Path) -> None:
    """`--check` fails on a stub that was edited by hand."""
    with (copied_stubs / RLS_STUB).open("a", encoding="utf-8") as stub:
        stub.write("# edited\n")
    assert check(copied_stubs) == (1, [f"stale: {RLS_STUB}"])


def test_check_names_a_missing_stub(copied_stubs: Path) -> None:
    """`--check` fails when a proto has no stub."""
    (copied_stubs / RLS_STUB).unlink()
    assert check(copied_stubs) == (1, [f"missing: {RLS_STUB}"])


def test_check_names_a_surplus_stub(copied_stubs: Path) -> None:
    """`--check` fails on a stub whose proto is gone."""
    (copied_stubs / "envoy" / "gone_pb2.py").touch()
    assert check(copied_stubs) == (1, ["surplus: envoy/gone_pb2.py"])


def test_check_names_every_fault(copied_stubs: Path) -> None:
    """`--check` names all files that differ at once, not only the first one, and mends none."""
    (copied_stubs / RLS_STUB).unlink()
    (copied_stubs / "__init__.py").write_text("", encoding="utf-8")
    expected = (1, ["stale: __init__.py", f"missing: {RLS_STUB}"])
    assert check(copied_stubs) == expected
    assert check(copied_stubs) == expected


def test_generating_mends_every_fault(copied_stubs: Path) -> None:
    """Without `--check` the generator rewrites, adds and removes until nothing differs."""
    (copied_stubs / RLS_STUB).unlink()
    (copied_stubs / "__init__.py").write_text("", encoding="utf-8")
    (copied_stubs / "envoy" / "gone_pb2.py").touch()
    assert run_python(str(GENERATOR), "--output", str(copied_stubs)).returncode == 0
    assert check(copied_stubs) == (0, [])


def test_stubs_import_without_warnings_or_a_top_level_envoy_package() -> None:
    """Every stub imports alone, keeps its wire name, can be pickled, and claims no foreign package.

    The wheels of Envoy and of its protos own the top-level name `envoy`.
    """
    done = run_python("-c", IMPORT_EVERYTHING)
    assert done.returncode == 0, done.stderr
    assert "envoy/service/ratelimit/v3/rls.proto" in done.stdout.splitlines()
