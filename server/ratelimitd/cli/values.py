"""Flags as values: addresses, durations, secrets, and the settings made of them.

Every fault names its flag; all of them are told at once.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ratelimitd.errors import SettingsError
from ratelimitd.settings import Address, Settings, read_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import TypeVar

    T = TypeVar("T")

_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)(ms|s|m|h)?", re.ASCII)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}


def split(hint: object, value: str, delimiter: str | None = None) -> list[str]:
    """Split a variable that holds several values, at commas and white space."""
    del hint, delimiter
    return value.replace(",", " ").split()


def duration(text: str) -> float:
    """Return seconds of `12ms`, `3s`, `2m`, `1h`, or of a bare number. Raises `SettingsError`."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise SettingsError(f"{text!r} is no length of time; write 500ms, 3s or 2m")
    return float(match[1]) * _UNITS[match[2]]


class Faults:
    """Collects what is wrong with flags, so that it is told at once."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def of(self, flag: str, read: Callable[[str], T], text: str) -> T | None:
        """Return the value that `read` makes of a flag's text; None where that is a fault."""
        try:
            return read(text)
        except SettingsError as error:
            self._found += [
                line if line.startswith("--") else f"{flag}: {line}"
                for line in str(error).splitlines()
            ]
            return None

    def add(self, fault: str) -> None:
        """Note a fault that names its flag."""
        self._found.append(fault)

    def settle(self) -> None:
        """Raise `SettingsError` if anything is wrong."""
        if self._found:
            raise SettingsError("\n".join(self._found))


def settings(
    *,
    policy: Path,
    store: str,
    listen: Sequence[str],
    http: str,
    admin: str,
    transport: str = "h2corn",
    secret_file: Path | None = None,
    drain: str = "0",
) -> Settings:
    """Return the settings that flags ask for. Raises `SettingsError` with every fault."""
    faults = Faults()
    wanted: dict[str, Any] = {
        "listen": tuple(faults.of("--listen", Address.parse, text) for text in listen),
        "http": faults.of("--http", Address.parse, http),
        "admin": faults.of("--admin", Address.parse, admin),
        "drain": faults.of("--drain", duration, drain),
    }
    if secret_file is not None:
        wanted["secrets"] = faults.of("--secret-file", lambda _: read_secrets(secret_file), "")
    faults.of("--policy", lambda _: readable(policy), "")
    faults.settle()
    return Settings(policy=policy, store=store, transport=transport, **wanted)


def readable(path: Path) -> Path:
    """Return a file or directory that can be read. Raises `SettingsError`."""
    try:
        if path.is_dir():
            next(path.iterdir(), None)
        else:
            path.open("rb").close()
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    return path
