"""Files and folders: what is read, what is left alone, and what cannot be read."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ratelimitd.errors import PolicyError
from ratelimitd.policy.faults import Fault, faults_of
from ratelimitd.policy.load import LARGEST, load
from tests.support.policy_text import HASHER, whole

GOOD = whole("domain: first")


def _unreadable(folder: Path) -> Path:
    return folder / "absent.yaml"


def _no_policy(folder: Path) -> Path:
    (folder / "notes.txt").write_text(GOOD)
    return folder


def _too_large(folder: Path) -> Path:
    path = folder / "large.yaml"
    path.touch()
    os.truncate(path, LARGEST + 1)
    return path


def _not_utf8(folder: Path) -> Path:
    path = folder / "latin.yaml"
    path.write_bytes("a: é\nb: Zoë".encode("latin-1"))
    return path


def _duplicate_domain(folder: Path) -> Path:
    for name in ("a.yaml", "b.yml"):
        (folder / name).write_text(GOOD)
    return folder


FILE_FAULTS: dict[str, tuple[Callable[[Path], Path], str, str]] = {
    "unreadable": (_unreadable, "absent.yaml", "No such file"),
    "no-policy": (_no_policy, "", "name a file"),
    "too-large": (_too_large, "large.yaml", "64 MiB"),
    "not-utf8": (_not_utf8, "latin.yaml:1:4", "save the file as UTF-8"),
    "duplicate-domain": (_duplicate_domain, "b.yml:1:9", "`first`"),
}
"""Code: how to make it, the place that is named, words of the message."""


def _faults(path: Path) -> tuple[Fault, ...]:
    with pytest.raises(PolicyError) as caught:
        load(path, HASHER)
    return faults_of(caught.value)


@pytest.mark.parametrize("code", FILE_FAULTS)
def test_a_file_that_cannot_be_read_is_a_fault(code: str, tmp_path: Path) -> None:
    """Whatever a path leads to, the author gets a fault and no traceback."""
    make, place, words = FILE_FAULTS[code]
    (fault,) = _faults(make(tmp_path))
    assert fault.code == code
    assert str(fault.place) == str(tmp_path / place)
    assert words in fault.message


def test_a_folder_holds_one_file_per_domain(tmp_path: Path) -> None:
    """Both spellings of the suffix count; other files and folders are left alone."""
    (tmp_path / "first.yaml").write_text(GOOD)
    (tmp_path / "second.yml").write_text(whole("domain: second"))
    (tmp_path / "README.md").write_text("no policy")
    (tmp_path / "third.yaml").mkdir()
    assert sorted(load(tmp_path, HASHER).policies) == ["first", "second"]


def test_a_mounted_kubernetes_volume_is_read_once(tmp_path: Path) -> None:
    """A ConfigMap shows each file as a link into `..data`, which itself is a link."""
    (tmp_path / "..2026_01_01").mkdir()
    (tmp_path / "..2026_01_01" / "first.yaml").write_text(GOOD)
    (tmp_path / "..data").symlink_to("..2026_01_01")
    (tmp_path / "first.yaml").symlink_to("..data/first.yaml")
    (tmp_path / ".first.yaml").write_text("an editor's own copy")
    assert list(load(tmp_path, HASHER).policies) == ["first"]


def test_faults_of_all_files_come_together(tmp_path: Path) -> None:
    """A folder is judged as a whole, so that it can be mended as a whole."""
    (tmp_path / "a.yaml").write_text("domain: [")
    (tmp_path / "b.yaml").write_text(whole("overrides: maybe"))
    assert [fault.code for fault in _faults(tmp_path)] == ["bad-yaml", "wrong-type"]


def test_the_exception_reads_as_its_first_fault(tmp_path: Path) -> None:
    """A log that shows the exception alone still says where to look."""
    path = tmp_path / "p.yaml"
    path.write_text(whole("overrides: maybe\nexempt: {}"))
    with pytest.raises(PolicyError) as caught:
        load(path, HASHER)
    assert str(caught.value).startswith(f"2 faults, the first: {path}:1:12: wrong-type: ")


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    """Some editors write one; places are counted without it."""
    path = tmp_path / "p.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert list(load(path, HASHER).policies) == ["first"]
