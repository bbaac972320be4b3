"""How a process is set up: values from flags and environment, checked together.

Reads neither; the command line hands them in. What is wrong is one `SettingsError` that names every
fault and its mend.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ratelimitd.errors import SettingsError
from ratelimitd.stores.redis import urls

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ratelimitd.tls import Tls

TRANSPORTS = ("h2corn", "grpcio", "pyvoy")
LOG_FORMATS = ("text", "json")
MOST_WORKERS = 64
NOT_SHARED = (
    "--workers {}: processes can share their counts through Redis only; "
    "give --store redis://HOST:PORT as well"
)
_ELSEWHERE = "leave --registry out, or name a file or a Redis"
_PORTS = range(65_536)
_TIMEOUTS = (0.001, 10.0)
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)(ms|s|m|h)?", re.ASCII)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def network(text: str) -> Network:
    """Return the network that an address or `ADDRESS/PREFIX` spells. Raises `SettingsError`."""
    try:
        return ipaddress.ip_network(text.strip())
    except ValueError as error:
        msg = f"{text!r} is no address and no network; write 10.0.0.7, 10.0.0.0/24 or fd00::/64"
        raise SettingsError(msg) from error


def duration(text: str) -> float:
    """Return seconds of `12ms`, `3s`, `2m`, `1h`, or of a bare number. Raises `SettingsError`."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise SettingsError(f"{text!r} is no length of time; write 500ms, 3s or 2m")
    return float(match[1]) * _UNITS[match[2]]


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

    def of_worker(self, index: int) -> Address:
        """Return where one of several processes listens in this address's place."""
        if self.path:
            return replace(self, path=f"{self.path}.{index}" if index else self.path)
        return replace(self, port=self.port and self.port + index)

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
    store: str = field(default="memory", repr=False)
    """`memory`, `file:PATH`, or the URL of a Redis, which may hold a password."""
    registry: str = field(default="", repr=False)
    """Where keys are registered: as `store`. Empty: the same place, or a file beside its file."""
    store_timeout: float = 0.012
    """Seconds of Redis's silence after which no decision waits for it any longer."""
    listen: tuple[Address, ...] = (Address("127.0.0.1", 8081),)
    """gRPC."""
    http: Address = Address("127.0.0.1", 8080)
    """Customers and probes."""
    trusted_proxies: tuple[Network, ...] = ()
    """From where X-Forwarded-For is believed on `http`, beside this machine."""
    admin: Address = Address("127.0.0.1", 9090)
    """Metrics and administration."""
    transport: str = "h2corn"
    """One of `TRANSPORTS`."""
    tls: Tls | None = None
    """For the gRPC listeners, and for administration beyond loopback. None: plaintext."""
    secrets: tuple[bytes, ...] = field(default=(), repr=False)
    """For hashing API keys: the first writes, all read. Empty: the published development secret."""
    admin_tokens: tuple[bytes, ...] = field(default=(), repr=False)
    """Any of which the admin listener demands. Empty: it trusts whoever is on this machine, and
    beyond it whoever has a certificate."""
    allow_private_webhooks: bool = False
    """Whether alerts may go to addresses of our own, and over plain http."""
    drain: float = 1.0
    """Seconds between saying NOT_SERVING and closing connections, for load balancers to notice."""
    workers: int = 1
    """Processes that share a store."""
    worker: int = 0
    """Which of them this is. The listeners for HTTP and administration are the first one's."""

    def __post_init__(self) -> None:
        faults = [
            *self._choice("--transport", self.transport, TRANSPORTS),
            *self._store_faults(),
            *self._worker_faults(),
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

    @property
    def is_shared(self) -> bool:
        """Whether several processes can share the store."""
        return urls.is_redis(self.store)

    @property
    def store_shown(self) -> str:
        """The store as it may be logged: without a password."""
        return urls.redacted(self.store) if self.is_shared else self.store

    @property
    def registry_place(self) -> str:
        """Where keys are registered, written out."""
        if self.registry:
            return self.registry
        return f"{self.store}.keys" if self.store.startswith("file:") else self.store

    @property
    def admin_tls(self) -> Tls | None:
        """What the admin listener speaks: TLS where others can reach it and there is TLS."""
        return None if self.admin.is_local else self.tls

    @property
    def admin_knows_clients(self) -> bool:
        """Whether the admin listener demands certificates."""
        return self.admin_tls is not None and self.admin_tls.client_ca is not None

    def _store_faults(self) -> list[str]:
        faults = [*_place_faults("--store", self.store)]
        if self.registry:
            faults += _place_faults("--registry", self.registry)
        least, most = _TIMEOUTS
        if not least <= self.store_timeout <= most:
            faults.append(f"--store-timeout {self.store_timeout:g}s: write 1ms to 10s")
        return faults

    def _worker_faults(self) -> list[str]:
        if not 1 <= self.workers <= MOST_WORKERS:
            return [f"--workers {self.workers}: write 1 to {MOST_WORKERS}"]
        if self.workers > 1 and not self.is_shared:
            return [NOT_SHARED.format(self.workers)]
        if self.workers > 1 and self.registry == "memory":
            return [
                f"--workers {self.workers}: each would have a registry of its own; {_ELSEWHERE}"
            ]
        return [] if self.worker else list(self._crowded())

    def _crowded(self) -> Iterator[str]:
        """Yield each address that leaves no room for the next workers' ones."""
        if self.workers == 1:
            return
        taken = {str(self.http): "--http", str(self.admin): "--admin"}
        for first in self.listen:
            if not first.path and not first.port:
                continue
            for index in range(self.workers):
                address = first.of_worker(index)
                if address.port not in _PORTS:
                    yield f"--listen {first}: leaves no {self.workers} ports for the workers"
                    break
                owner = taken.setdefault(str(address), f"--listen {first}")
                if owner != f"--listen {first}":
                    yield f"--listen {first}: worker {index} needs {address}, which is {owner}'s"
                    break

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
        if not self.admin.is_local and not self.admin_tokens and not self.admin_knows_clients:
            faults.append(
                f"--admin {self.admin} can be reached from other machines: give "
                "--admin-token-file FILE or --tls-client-ca FILE, or keep it on loopback"
            )
        return faults


def _place_faults(flag: str, place: str) -> list[str]:
    if urls.is_redis(place):
        try:
            urls.parse(place)
        except SettingsError as error:
            return [f"{flag} {line}" for line in str(error).splitlines()]
        return []
    kind, colon, path = place.partition(":")
    if place == "memory" or (kind == "file" and path):
        return []
    shown = f"{kind}{colon}…" if path else place  # the rest may be a password
    return [f"{flag} {shown}: write memory, file:PATH or redis://HOST:PORT"]


def read_secrets(path: Path, flag: str = "--secret-file") -> tuple[bytes, ...]:
    """Return the secrets in a file, one per line. Raises `SettingsError`."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        msg = f"{flag} {path}: {error.strerror}"
        raise SettingsError(msg) from error
    secrets = tuple(line.strip() for line in lines if line.strip())
    if not secrets:
        msg = f"{flag} {path}: the file is empty; write one secret per line"
        raise SettingsError(msg)
    short = min(map(len, secrets))
    if short < 16:  # noqa: PLR2004 - 128 bits, as many as the digest has
        msg = f"{flag} {path}: a secret of {short} bytes is too short; at least 16"
        raise SettingsError(msg)
    return secrets
