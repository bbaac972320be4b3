"""What the file store makes of a file: ours or not, whole or damaged, old or new."""

from __future__ import annotations

import os
import sqlite3
import stat
from typing import TYPE_CHECKING

import pytest

from ratelimitd.clock import ManualClock
from ratelimitd.errors import StoreUnavailableError
from ratelimitd.stores.file import FileCounters
from tests.e2e.support import counts_files as files
from tests.e2e.support.counts_files import LIMIT, contents, opened, used, used_at_rest
from tests.support.ops import NEW_YEAR, S, charge

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


async def refusal(path: str | Path) -> str:
    """Return why a store does not open."""
    store = FileCounters(path, ManualClock(NEW_YEAR))
    with pytest.raises(StoreUnavailableError) as raised:
        await store.start()
    await store.close()
    return str(raised.value).removeprefix(f"--store file:{path}: ")


async def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    """Mode 0600: the file, its log and its lock."""
    async with opened(tmp_path / "counts.db") as store:
        await store.take([charge(LIMIT)])
        await store.flush()
        modes = _modes(tmp_path)
    names = ("counts.db", "counts.db-wal", "counts.db-shm", "counts.db.lock")
    assert modes == dict.fromkeys(names, 0o600)


def _modes(folder: Path) -> dict[str, int]:
    return {each.name: stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()}


async def test_a_relative_path_is_where_the_process_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And stays there when the process moves on."""
    monkeypatch.chdir(tmp_path)
    async with opened("counts.db") as store:
        monkeypatch.chdir("/")
        await store.take([charge(LIMIT)])
    assert await used_at_rest(tmp_path / "counts.db") == 1


async def test_a_path_that_cannot_be_is_refused_in_one_sentence(tmp_path: Path) -> None:
    """The sentence says what to do."""
    os.mkfifo(tmp_path / "pipe")
    missing = tmp_path / "none" / "counts.db"
    assert await refusal(missing) == f"there is no directory {missing.parent}; make it first"
    assert await refusal(tmp_path) == "Is a directory; name a file that can be written"
    assert await refusal(tmp_path / "pipe") == "is no regular file"


async def test_an_empty_file_is_a_new_one(tmp_path: Path) -> None:
    """As `touch` or `mktemp` leave it."""
    (tmp_path / "counts.db").touch()
    assert await used_at_rest(tmp_path / "counts.db") == 0


DAMAGES = (
    (files.stopped, files.overwrite, "it is no SQLite database"),
    (files.stopped, files.cut, ""),
    (files.stopped, files.cut_short, "it is no SQLite database"),
    (files.stopped, files.scribble, ""),
    (files.killed, files.overwrite, "it is no SQLite database"),
    (files.killed, files.cut_off, "it is empty or gone, and its log is not"),
    (files.killed, files.lose, "it is empty or gone, and its log is not"),
    (files.killed, lambda path: files.change(path, "PRAGMA user_version = 0"), "its format is 0"),
    (
        files.stopped,
        lambda path: files.change(path, "UPDATE families SET algorithm = 'guess'"),
        "a family is not one",
    ),
    (
        files.stopped,
        lambda path: files.change(path, "CREATE TABLE mine (x)"),
        "its tables are not ours",
    ),
    (
        files.stopped,
        lambda path: files.change(path, "UPDATE counts SET first = -5 WHERE key = x'6330'"),
        "1 of its rows hold no counts",
    ),
)


@pytest.mark.parametrize(("make", "hurt", "why"), DAMAGES, ids=map(str, range(len(DAMAGES))))
async def test_a_damaged_file_is_set_aside_unchanged_and_counting_begins_anew(
    make: files.Make,
    hurt: Callable[[Path], None],
    why: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One warning names both files and the reason; the log goes with its database."""
    path = tmp_path / "counts.db"
    await make(path)
    hurt(path)
    before = contents(path)
    assert await used_at_rest(path) == 0
    aside = path.with_name("counts.db.damaged-20220101T000000Z")
    assert contents(aside) == before
    (warning,) = caplog.messages
    assert warning.startswith(f"the counts in {path} cannot be read ({why}")
    assert warning.endswith(f"that file is now {aside}, and counting begins anew")


async def test_a_file_set_aside_is_never_overwritten(tmp_path: Path) -> None:
    """Damaged twice within a second: two files."""
    path = tmp_path / "counts.db"
    for text in (b"first", b"second"):
        path.write_bytes(text)
        assert await used_at_rest(path) == 0
    names = ["counts.db.damaged-20220101T000000Z", "counts.db.damaged-20220101T000000Z-2"]
    assert [(tmp_path / name).read_bytes() for name in names] == [b"first", b"second"]


async def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    """It was named by mistake; whoever owns it wants it as it is."""
    path = tmp_path / "theirs.db"
    files.change(path, "CREATE TABLE counts (x); INSERT INTO counts VALUES (1)")
    before = contents(path)
    why = "an SQLite database of another program, left as it is; name another file"
    assert await refusal(path) == why
    assert contents(path) == before


@pytest.mark.parametrize("make", [files.stopped, files.killed])
async def test_a_newer_format_is_left_alone(make: files.Make, tmp_path: Path) -> None:
    """A downgrade must not cost the counts of the version that wrote them."""
    path = tmp_path / "counts.db"
    await make(path)
    with path.open("r+b") as file:
        file.seek(60)
        file.write((3).to_bytes(4, "big"))
    before = contents(path)
    assert await refusal(path) == (
        "written by a newer ratelimitd (format 3; this one knows 2) and left as it is; "
        "run the newer one, or name another file"
    )
    assert contents(path) == before


async def test_a_newer_format_is_seen_in_the_log_as_well(tmp_path: Path) -> None:
    """A newer version that was killed before it had folded its log into the file."""
    path, other = tmp_path / "counts.db", tmp_path / "other.db"
    await files.stopped(other)
    connection = sqlite3.connect(other)
    connection.executescript("PRAGMA wal_autocheckpoint = 0; PRAGMA user_version = 3")
    for suffix, content in contents(other).items():
        path.with_name(path.name + suffix).write_bytes(content)
    connection.close()
    before = contents(path)
    assert set(before) == {"", "-wal"}
    assert (await refusal(path)).startswith("written by a newer ratelimitd (format 3;")
    assert contents(path) == before


async def test_a_refused_file_is_free_for_the_next(tmp_path: Path) -> None:
    """A start that fails gives the lock back."""
    path = tmp_path / "counts.db"
    files.change(path, "CREATE TABLE theirs (x)")
    for _ in range(2):
        assert "another program" in await refusal(path)
    path.unlink()
    assert await used_at_rest(path) == 0


async def test_what_a_kill_left_is_read(tmp_path: Path) -> None:
    """A log that was never folded into its file is no damage."""
    path = tmp_path / "counts.db"
    await files.killed(path)
    assert await used_at_rest(path) == 2
    assert not any("damaged" in name for name in _modes(tmp_path))


async def test_a_file_that_was_replaced_while_in_use_is_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Writing on into a file that nobody can find would lose the counts in silence."""
    path = tmp_path / "counts.db"
    async with opened(path) as store:
        await store.take([charge(LIMIT)])
        path.rename(tmp_path / "moved.db")
        assert not await store.flush()
        path.touch()
        assert not await store.flush()
        assert (store.write_errors, store.unwritten, await used(store)) == (2, 1, 1)
        (tmp_path / "moved.db").rename(path)
        assert await store.flush()
    assert len(caplog.messages) == 2
    assert await used_at_rest(path, now=NEW_YEAR + S) == 1
