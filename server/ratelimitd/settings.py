"""How a process is set up: values from flags and environment, checked together.

Reads neither; the command line hands them in. What is wrong is one `SettingsError` that names every
fault and its mend.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ratelimitd.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

    from ratelimitd.tls import Tls

TRANSPORTS = ("h2corn", "grpcio", "pyvoy")
LOG_FORMATS = ("text", "json")
_PORTS = range(65_536)


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: a host and port, or a unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    @staticmethod
    def parse(text: str) -> Address:
        """Read `HOST:PORT`, `[IPV6]:PORT` or `unix:PATH`. Raises `SettingsError`."""
        if text.startswith("unix:"):
            if not text.removeprefix("unix:"):
                msg = f"{text!r}: a unix socket needs a path, as in unix:/run/ratelimitd.sock"
                raise SettingsError(msg)
            return Address(path=text.removeprefix("unix:"))
        host, colon, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not colon or not host or not port.isdecimal() or int(port) not in _PORTS:
            msg = f"{text!r} is no address; write HOST:PORT (0 picks a free port) or unix:PATH"
            raise SettingsError(msg)
        return Address(host=host, port=int(port))

    def __str__(self) -> str:
        """Return the spelling that `parse` reads."""
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether only this machine can connect."""
        if self.path or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A limiter's process. Raises `SettingsError` when its values do not go together."""

    policy: Path
    """A policy file, or a directory of them."""
    store: str = "memory"
    """`memory` or `file:PATH`."""
    listen: tuple[Address, ...] = (Address("127.0.0.1", 8081),)
    """gRPC."""
    http: Address = Address("127.0.0.1", 8080)
    """Probes."""
    admin: Address = Address("127.0.0.1", 9090)
    """Metrics and administration."""
    transport: str = "h2corn"
    """One of `TRANSPORTS`."""
    tls: Tls | None = None
    """For the gRPC listeners. None: plaintext."""
    secrets: tuple[bytes, ...] = field(default=(), repr=False)
    """For hashing API keys: the first writes, all read. Empty: the published development secret."""
    drain: float = 1.0
    """Seconds between saying NOT_SERVING and closing connections, for load balancers to notice."""

    def __post_init__(self) -> None:
        faults = [
            *self._choice("--transport", self.transport, TRANSPORTS),
            *self._store_faults(),
            *self._exposure_faults(),
            *self._tls_faults(),
        ]
        if not self.listen:
            faults.append("--listen: at least one address is needed")
        if faults:
            raise SettingsError("\n".join(faults))

    @staticmethod
    def _choice(flag: str, value: str, known: tuple[str, ...]) -> list[str]:
        return [] if value in known else [f"{flag} {value}: choose one of {', '.join(known)}"]

    def _store_faults(self) -> list[str]:
        kind, colon, path = self.store.partition(":")
        if self.store == "memory" or (kind == "file" and path):
            return []
        if kind == "file" or not colon:
            return [f"--store {self.store}: write memory, or file:PATH"]
        return [f"--store {kind}:…: this version keeps counts in memory or in file:PATH only"]

    def _tls_faults(self) -> list[str]:
        if self.tls is None:
            return []
        return [
            f"--listen {address}: TLS is for addresses; a unix socket is guarded by the rights of "
            "its folder. Leave out one of the two"
            for address in self.listen
            if address.path
        ]

    def _exposure_faults(self) -> list[str]:
        """Refuse what must not be reachable from elsewhere."""
        faults = []
        if not self.secrets:
            faults += [
                f"--listen {address} can be reached from other machines: give --secret-file FILE, "
                "because without it API keys are hashed with a published secret"
                for address in (*self.listen, self.http)
                if not address.is_local
            ]
        if not self.admin.is_local:
            faults.append(
                f"--admin {self.admin}: the admin listener has no protection of its own yet; "
                "keep it on loopback"
            )
        return faults


def read_secrets(path: Path) -> tuple[bytes, ...]:
    """Return the secrets in a file, one per line. Raises `SettingsError`."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        msg = f"--secret-file {path}: {error.strerror}"
        raise SettingsError(msg) from error
    secrets = tuple(line.strip() for line in lines if line.strip())
    if not secrets:
        msg = f"--secret-file {path}: the file is empty; write one secret per line"
        raise SettingsError(msg)
    short = min(map(len, secrets))
    if short < 16:  # noqa: PLR2004 - 128 bits, as many as the digest has
        msg = f"--secret-file {path}: a secret of {short} bytes is too short; at least 16"
        raise SettingsError(msg)
    return secrets
