"""The URL of `--store`: which servers are meant, and how to be let in.

    redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]                 rediss:// with TLS
    unix://[[USER]:PASSWORD@]/PATH[?db=DB]
    redis+sentinel://[…@]HOST[:PORT],HOST[:PORT]/SERVICE[/DB]  rediss+sentinel:// with TLS
    redis+cluster://[…@]HOST[:PORT],HOST[:PORT]                rediss+cluster:// with TLS

After `?`: `db`, `username`, `password`; for TLS `ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile`,
`ssl_cert_reqs`, `ssl_check_hostname`; for Sentinels `sentinel_username`, `sentinel_password`.
Opens nothing but the files of TLS, and those when a connection is made.
"""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qsl, unquote

from ratelimitd.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind = Literal["single", "sentinel", "cluster"]

PORT, SENTINEL_PORT = 6379, 26_379
HIDDEN = "***"
KINDS: dict[str, Kind] = {
    "redis": "single",
    "rediss": "single",
    "unix": "single",
    "redis+sentinel": "sentinel",
    "rediss+sentinel": "sentinel",
    "redis+cluster": "cluster",
    "rediss+cluster": "cluster",
}
"""By scheme."""
_TLS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname")
_SENTINEL = ("sentinel_username", "sentinel_password")
_GENERAL = ("db", "username", "password")
_PASSWORDS = re.compile(r"((?:^|&)(?!(?:db|(?:sentinel_)?username|ssl_\w+)=)[^&=]*=)[^&]*")
"""Values of options but for those that are known to be no passwords."""
_SHOWN = rf"\g<1>{HIDDEN}"
_NO_PORT = re.compile(r":(?![\d,/]|$)(?![^\[]*\])[^,]*")
"""What stands for a port and is none: a password whose host was forgotten."""
_PORTS = range(1, 65_536)
_YES, _NO = ("true", "yes", "1", "required"), ("false", "no", "0", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """How TLS is spoken."""

    ca: str = ""
    """A file of the authorities that are trusted; empty: those of the system."""
    cert: str = ""
    """A file with the certificate that we show; empty: none."""
    key: str = ""
    """The file of its key; empty: it is in `cert`."""
    verify: bool = True
    """Whether the server has to prove who it is."""
    check_hostname: bool = True
    """Whether its certificate must be for the host that we connect to."""

    def context(self) -> ssl.SSLContext:
        """Read the files. Raises `OSError`, of which `SSLError` is a kind."""
        for path in (self.ca, self.cert, self.key):
            if path:
                with Path(path).open("rb"):
                    pass  # an error of OpenSSL's would not name the file
        context = ssl.create_default_context(cafile=self.ca or None)
        context.check_hostname = self.verify and self.check_hostname
        if not self.verify:
            context.verify_mode = ssl.CERT_NONE
        if self.cert:
            # Nobody is there to be asked for the password of a key.
            context.load_cert_chain(self.cert, self.key or None, password=lambda: b"")
        return context


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Servers, and how they are entered."""

    kind: Kind = "single"
    addresses: tuple[tuple[str, int], ...] = ()
    """One server; or Sentinels; or nodes of a cluster to begin with. Empty: `path` says where."""
    path: str = ""
    """Of a unix socket."""
    db: int = 0
    username: str = ""
    password: str | None = field(default=None, repr=False)
    tls: TlsSettings | None = None
    service: str = ""
    """What Sentinels call the primary and its replicas."""
    sentinel_username: str = ""
    sentinel_password: str | None = field(default=None, repr=False)


def is_redis(place: str) -> bool:
    """Say whether what names a store is a Redis's URL."""
    scheme, mark, _ = place.partition("://")
    return bool(mark) and scheme in KINDS


def parse(url: str) -> Target:
    """Read a URL. Raises one `SettingsError` with every fault, a line each, and no secret."""
    scheme, mark, rest = url.partition("://")
    kind = KINDS.get(scheme)
    if not mark or kind is None:
        near = get_close_matches(scheme, KINDS, 1) if mark else []
        hint = f"did you mean {near[0]}://?" if near else "write redis://HOST:PORT"
        raise SettingsError(f"{scheme if mark else HIDDEN} is no scheme of Redis; {hint}")
    reading = _Reading(scheme, kind, rest)
    target = reading.target()
    if reading.faults and "@" in url.partition("?")[2]:
        # Part of a password may have been taken for something else, and must not be shown as that.
        raise SettingsError(
            f"{redacted(url)} cannot be read; in passwords write ? as %3F, @ as %40"
        )
    if reading.faults:
        raise SettingsError("\n".join(f"{redacted(url)}: {fault}" for fault in reading.faults))
    return target


def redacted(url: str) -> str:
    """Return the URL, whatever is wrong with it, without passwords."""
    scheme, mark, rest = url.partition("://")
    body, question, query = rest.partition("?")
    # A password may hold what should have been escaped: the last @ ends it.
    user, at, place = body.rpartition("@")
    if not mark or "@" in query:
        return f"{scheme}{mark}{HIDDEN}" if mark else HIDDEN
    name, colon, _ = user.partition(":")
    place = _NO_PORT.sub(f":{HIDDEN}", place) if scheme != "unix" else place
    shown = f"{name}{colon}{HIDDEN if colon else ''}{at}{place}"
    return f"{scheme}{mark}{shown}{question}{_PASSWORDS.sub(_SHOWN, query)}"


class _Reading:
    """One URL being read, and what is wrong with it."""

    def __init__(self, scheme: str, kind: Kind, rest: str) -> None:
        self.faults: list[str] = []
        self._scheme, self._kind = scheme, kind
        body, _, query = rest.partition("?")
        self._user, self._at, self._place = body.rpartition("@")
        self._options = self._read_options(query)

    def target(self) -> Target:
        """Return what is meant, as far as it can be told."""
        username, colon, password = self._user.partition(":")
        option = self._options.get
        addresses, path, service, db = self._where()
        sentinel_password = option("sentinel_password")
        target = Target(
            kind=self._kind,
            addresses=tuple(addresses),
            path=path,
            db=self._db(option("db", db)),
            username=option("username", unquote(username)),
            password=option("password", unquote(password) if colon else None),
            tls=self._tls() if self._scheme.startswith("rediss") else None,
            service=service,
            sentinel_username=option("sentinel_username", ""),
            sentinel_password=sentinel_password,
        )
        self.faults += self._contradictions(target)
        return target

    def _where(self) -> tuple[list[tuple[str, int]], str, str, str]:
        """Return addresses, path, service and database."""
        if self._scheme == "unix":
            path = unquote(self._place)
            if not path.startswith("/") or path == "/":
                self.faults.append("a socket needs its whole path: unix:///run/redis.sock")
            return [], path, "", ""
        hosts, _, path = self._place.partition("/")
        addresses = list(self._addresses(hosts))
        if self._kind != "sentinel":
            return addresses, "", "", path
        service, _, db = path.partition("/")
        if not service:
            self.faults.append("Sentinels must be told the service: …/SERVICE, as in …/mymaster")
        return addresses, "", unquote(service), db

    def _addresses(self, hosts: str) -> Iterator[tuple[str, int]]:
        usual = SENTINEL_PORT if self._kind == "sentinel" else PORT
        found = hosts.split(",")
        if self._kind == "single" and len(found) > 1:
            self.faults.append(
                f"{self._scheme}:// is one server: write {self._scheme}+cluster://HOST,HOST or "
                f"{self._scheme}+sentinel://HOST,HOST/SERVICE for several"
            )
        for each in found:
            match = re.fullmatch(r"(\[[^]]+\]|[^:\[\]]*)(?::(\d*))?", each.strip())
            host = unquote(match[1].strip("[]")) if match else ""
            port = int(match[2] or usual) if match else 0
            if not host or port not in _PORTS:
                # Not shown: it may be a password whose host was forgotten.
                self.faults.append("an address cannot be read: write HOST:PORT or [IPV6]:PORT")
            yield host, port

    def _read_options(self, query: str) -> dict[str, str]:
        known = [*_GENERAL]
        known += _TLS if self._scheme.startswith("rediss") else ()
        known += _SENTINEL if self._kind == "sentinel" else ()
        options: dict[str, str] = {}
        for name, value in parse_qsl(query, keep_blank_values=True):
            if name in options:
                self.faults.append(f"{name} is given twice")
            options[name] = value
            if name in known:
                continue
            near = get_close_matches(name, known, 1)
            if name in _TLS:
                mend = f"it is for TLS: write {self._scheme.replace('redis', 'rediss', 1)}://"
            elif near:
                mend = f"did you mean {near[0]}?"
            else:
                mend = f"known are {', '.join(known)}"
            self.faults.append(f"{name} is no option here; {mend}")
        return options

    def _db(self, text: str) -> int:
        if not text:
            return 0
        if not re.fullmatch(r"\d{1,6}", text, re.ASCII):
            self.faults.append(f"{text!r} is no database: write a number, as in redis://HOST/0")
            return 0
        return int(text)

    def _tls(self) -> TlsSettings:
        option = self._options.get
        verify = self._switch("ssl_cert_reqs", "required, or none")
        return TlsSettings(
            ca=option("ssl_ca_certs", ""),
            cert=option("ssl_certfile", ""),
            key=option("ssl_keyfile", ""),
            verify=verify,
            check_hostname=self._switch("ssl_check_hostname", "true or false"),
        )

    def _switch(self, name: str, words: str) -> bool:
        value = self._options.get(name, "true").lower()
        if value not in _YES + _NO:
            self.faults.append(f"{name}={value}: write {words}")
        return value in _YES

    def _contradictions(self, target: Target) -> Iterator[str]:
        if target.kind == "cluster" and target.db:
            yield "a cluster has one database: leave out its number"
        if target.username and target.password is None:
            yield "a user needs a password: USER:PASSWORD@, or :PASSWORD@ for the default user"
        if target.sentinel_username and target.sentinel_password is None:
            yield "sentinel_username needs sentinel_password"
        if target.tls and target.tls.key and not target.tls.cert:
            yield "ssl_keyfile needs ssl_certfile"
        if target.tls and not target.tls.verify and target.tls.ca:
            yield "ssl_ca_certs with ssl_cert_reqs=none contradict each other: leave out one"
