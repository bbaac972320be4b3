"""Flags as values: addresses, durations, secrets, and the settings made of them.

Every fault names its flag; all of them are told at once.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ratelimitd.errors import SettingsError
from ratelimitd.settings import Address, Settings, duration, network, read_secrets
from ratelimitd.tls import CERT, CLIENT_CA, KEY, Tls

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeVar

    T = TypeVar("T")

AUTO = "auto"
"""The transport that is best here (`pyvoy_launch.best`)."""
MOST_HITS = 2**53 - 1
"""Where counts end."""


def split(hint: object, value: str, delimiter: str | None = None) -> list[str]:
    """Split a variable that holds several values, at commas and white space."""
    del hint, delimiter
    return value.replace(",", " ").split()


def span(seconds: float) -> str:
    """Return a wait for reading, in its two largest units, rounded up to seconds."""
    left, parts = math.ceil(seconds), []
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def target(text: str) -> Address:
    """Return the address of a running limiter. Raises `SettingsError`."""
    address = Address.parse(text)
    if not address.path and not address.port:
        raise SettingsError(f"{text!r} names no port; a running limiter has one")
    return address


def entries(texts: Sequence[str], faults: Faults) -> list[tuple[str, str]]:
    """Return the descriptor that `KEY=VALUE`s make."""
    if not texts:
        faults.add("no descriptor: give at least one KEY=VALUE, as api_key=demo-free")
    pairs = []
    for text in texts:
        key, equals, value = text.partition("=")
        # Not quoted: it may be an API key.
        if not equals or not key:
            faults.add("an entry is KEY=VALUE, as api_key=demo-free; one that was given is not")
        elif not text.isascii() and not _is_text(text):
            faults.add(f"the value of {key!r} is not UTF-8")
        pairs.append((key, value))
    return pairs


def domain(text: str) -> str:
    """Return the domain that a question asks about. Raises `SettingsError`."""
    if not _is_text(text):
        raise SettingsError("not UTF-8, and no policy's domain")
    return text


def _is_text(text: str) -> bool:
    """Say whether an argument was text: bytes that are not UTF-8 arrive as lone surrogates."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


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

    def of_each(
        self, flag: str, read: Callable[[str], T], texts: Sequence[str]
    ) -> tuple[T | None, ...]:
        """Return the values of a flag that was given several times."""
        return tuple(self.of(flag, read, text) for text in texts)

    def __bool__(self) -> bool:
        """Say whether anything is wrong so far."""
        return bool(self._found)

    def add(self, fault: str) -> None:
        """Note a fault that names its flag."""
        self._found.append(fault)

    def settle(self) -> None:
        """Raise `SettingsError` if anything is wrong."""
        if self._found:
            raise SettingsError("\n".join(self._found))


def settings(
    *,
    policy: str | Path,
    store: str,
    store_timeout: str = "12ms",
    registry: str | None = None,
    listen: Sequence[str],
    http: str,
    trusted_proxy: Sequence[str] = (),
    admin: str,
    transport: str = "h2corn",
    secret_file: str | Path | None = None,
    admin_token_file: str | Path | None = None,
    tls: Mapping[str, str | None] | None = None,
    drain: str = "0",
    **plain: Any,  # noqa: ANN401 - a setting's own type
) -> Settings:
    """Return the settings that flags ask for. Raises `SettingsError` with every fault.

    `tls` has files by their flags; `plain` are the settings that nothing is made of.
    """
    faults = Faults()
    wanted: dict[str, Any] = {
        "listen": faults.of_each("--listen", Address.parse, listen),
        "http": faults.of("--http", Address.parse, http),
        "trusted_proxies": faults.of_each("--trusted-proxy", network, trusted_proxy),
        "admin": faults.of("--admin", Address.parse, admin),
        "drain": faults.of("--drain", duration, drain),
        "store_timeout": faults.of("--store-timeout", duration, store_timeout),
        "registry": registry or "",
        **plain,
    }
    files = {"secrets": secret_file, "admin_tokens": admin_token_file}
    for name, flag in (("secrets", "--secret-file"), ("admin_tokens", "--admin-token-file")):
        if files[name] is not None:
            wanted[name] = faults.of(flag, partial(_secrets, flag), str(files[name]))
    wanted["tls"] = _tls({flag: file for flag, file in (tls or {}).items() if file}, faults)
    faults.of("--policy", lambda text: readable(Path(text)), str(policy))
    faults.settle()
    return Settings(policy=Path(policy), store=store, transport=_carrier(transport), **wanted)


def _secrets(flag: str, text: str) -> tuple[bytes, ...]:
    return read_secrets(Path(text), flag)


def _carrier(transport: str) -> str:
    """Return the transport that a flag means."""
    if transport != AUTO:
        return transport
    from ratelimitd.transports import pyvoy_launch

    return pyvoy_launch.best()


def _tls(given: Mapping[str, str], faults: Faults) -> Tls | None:
    """Return the files that TLS takes, read once to see whether they are sound."""
    if not given:
        return None
    for flag in (CERT, KEY):
        if flag not in given:
            faults.add(f"{next(iter(given))} needs {flag} FILE beside it")
            return None
    ca = given.get(CLIENT_CA)
    tls = Tls(Path(given[CERT]), Path(given[KEY]), None if ca is None else Path(ca))
    faults.of(CERT, lambda _: tls.read(), given[CERT])
    return tls


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
