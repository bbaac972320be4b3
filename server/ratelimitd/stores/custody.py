"""Whose a counts file is: one process's at a time, ours, of a format we know, whole.

Owns the checks before the file is opened, the lock, and putting a damaged file aside. Knows
nothing of what is counted. A file is only ever renamed here, never changed and never overwritten.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from ratelimitd.errors import StoreUnavailableError

if TYPE_CHECKING:
    from pathlib import Path

APPLICATION_ID: Final = 0x52_41_54_45
"""`RATE`: stands in the header of each of our files, and in no other program's."""
FORMAT: Final = 2
"""What this version writes; it reads all before it. A new format raises it in the main file's
header (so: outside WAL mode, or followed by a checkpoint) before anything else changes.

1: counts of windows and buckets. 2: leases too, and the ids of calls that must not count twice, in
the same tables."""
COMPANIONS: Final = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database."""

_MAGIC = b"SQLite format 3\0"
_VERSION_AT = 60  # of the header, https://www.sqlite.org/fileformat2.html#the_database_header
_APPLICATION_AT = 68
_HEADER = 100


class DamagedFileError(Exception):
    """Expected: the file holds no counts that can be read. The store sets it aside."""


def unavailable(path: Path, why: str) -> StoreUnavailableError:
    """Return the error that names the file, as the operator spelled its kind."""
    return StoreUnavailableError(f"--store file:{path}: {why}")


def claim(path: Path) -> int:
    """Lock the file for this process; return the descriptor whose closing gives it back.

    The lock is `flock` on a sibling, PATH.lock, because the database itself can be renamed, because
    SQLite's own locks are per process and vanish when any descriptor of the database is closed, and
    because the kernel gives it back however the process ends. It is never deleted: whoever deleted
    it could delete the next one's.

    Raises `StoreUnavailableError`.
    """
    if not path.parent.is_dir():
        raise unavailable(path, f"there is no directory {path.parent}; make it first")
    try:
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        why = f"{path}.lock: {error.strerror}; the process needs to write in {path.parent}"
        raise unavailable(path, why) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(lock, 20, 0).decode("ascii", "replace").strip() or "another"
        os.close(lock)
        why = f"in use by process {holder}; stop that one, or give this one a file of its own"
        raise unavailable(path, why) from error
    except OSError as error:
        os.close(lock)
        why = f"{path}.lock cannot be locked: {error.strerror}; use a local file system"
        raise unavailable(path, why) from error
    with contextlib.suppress(OSError):  # a full disk; the number is only for the message above
        os.ftruncate(lock, 0)
        os.pwrite(lock, b"%d\n" % os.getpid(), 0)
    return lock


def exists(path: Path) -> bool:
    """Say whether counts are at rest in the file; without it, or with an empty one, none are.

    Raises `StoreUnavailableError` for what is not ours to touch, `DamagedFileError`.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return _is_missing(path)
    except OSError as error:
        raise unavailable(path, f"{error.strerror}; name a file that can be written") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise unavailable(path, "is no regular file")
        header = os.pread(descriptor, _HEADER, 0)
    finally:
        os.close(descriptor)
    if not header:
        return _is_missing(path)
    if len(header) < _HEADER or not header.startswith(_MAGIC):
        raise DamagedFileError("it is no SQLite database")
    if _number(header, _APPLICATION_AT) != APPLICATION_ID:
        why = "an SQLite database of another program, left as it is; name another file"
        raise unavailable(path, why)
    check_format(path, _number(header, _VERSION_AT))
    return True


def check_format(path: Path, version: int) -> None:
    """Refuse a format of the future. Raises `StoreUnavailableError`."""
    if version > FORMAT:
        why = (
            f"written by a newer ratelimitd (format {version}; this one knows {FORMAT}) and left "
            "as it is; run the newer one, or name another file"
        )
        raise unavailable(path, why)


def set_aside(path: Path, now: int) -> Path:
    """Rename the file and its companions to PATH.damaged-TIME…; return the new name.

    Raises `StoreUnavailableError`.
    """
    time = datetime.fromtimestamp(now // 1_000_000, UTC).strftime("%Y%m%dT%H%M%SZ")
    aside = path.with_name(f"{path.name}.damaged-{time}")
    count = 1
    while any(_beside(aside, suffix).exists() for suffix in ("", *COMPANIONS)):
        count += 1
        aside = path.with_name(f"{path.name}.damaged-{time}-{count}")
    try:
        # Companions first: a crash in between leaves the damaged file to be found again.
        for suffix in (*COMPANIONS, ""):
            with contextlib.suppress(FileNotFoundError):
                _beside(path, suffix).rename(_beside(aside, suffix))
    except OSError as error:
        why = f"is damaged and cannot be renamed to {aside.name}: {error.strerror}"
        raise unavailable(path, why) from error
    return aside


def _is_missing(path: Path) -> bool:
    """Return False; but a log without its database is what is left of one."""
    wal = _beside(path, "-wal")
    if wal.exists() and wal.stat().st_size:
        raise DamagedFileError("it is empty or gone, and its log is not")
    return False


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _number(header: bytes, offset: int) -> int:
    return int.from_bytes(header[offset : offset + 4], "big")
