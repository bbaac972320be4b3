"""`--store redis://…`: what it says, without opening anything, and how it is shown.

    redis://[USER:PASSWORD@]HOST[:PORT][/DB]      rediss:// the same with TLS
    unix://[USER:PASSWORD@]/PATH[?db=N]
    redis+sentinel://[USER:PASSWORD@]HOST[:PORT],…/SERVICE[/DB]    rediss+sentinel://
    redis+cluster://[USER:PASSWORD@]HOST[:PORT],…                  rediss+cluster://

Options behind `?`: `ca`, `cert`, `key` (files, with TLS), `db`, and for Sentinel's own credentials
`sentinel_username`, `sentinel_password`. Names and passwords are percent-encoded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from ratelimitd.errors import SettingsError

SINGLE, SENTINEL, CLUSTER = "single", "sentinel", "cluster"
PORT, SENTINEL_PORT = 6379, 26379
_KINDS = {
    "redis": SINGLE,
    "rediss": SINGLE,
    "unix": SINGLE,
    "redis+sentinel": SENTINEL,
    "rediss+sentinel": SENTINEL,
    "redis+cluster": CLUSTER,
    "rediss+cluster": CLUSTER,
}
_OPTIONS = frozenset(("db", "ca", "cert", "key", "sentinel_username", "sentinel_password"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where Redis is, and who we are to it."""

    kind: str
    """`SINGLE`, `SENTINEL` or `CLUSTER`."""
    addresses: tuple[tuple[str, int], ...] = ()
    """The server; or some of the Sentinels, or of the cluster's nodes."""
    path: str = ""
    """A unix socket, in place of an address."""
    db: int = 0
    service: str = ""
    """What Sentinel calls the primary."""
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    tls: bool = False
    ca: str = ""
    """File of the authorities that a server's certificate must be of; empty: the system's."""
    cert: str = ""
    key: str = ""


def redacted(url: str) -> str:
    """Return the URL as it may be logged: without names, passwords and options."""
    scheme, _, rest = url.partition("://")
    before, _, options = rest.partition("?")
    credentials, at, place = before.rpartition("@")
    shown = "…@" if credentials or at else ""
    return f"{scheme}://{shown}{place}" + ("?…" if options else "")


def parse(url: str) -> Target:
    """Read a URL. Raises `SettingsError`, which never holds a password."""
    try:
        parts = urlsplit(url)
        kind = _KINDS[parts.scheme]
        return _target(kind, url)
    except (KeyError, ValueError) as error:
        why = "" if isinstance(error, KeyError) else f": {error}"
        msg = f"{redacted(url)} is no Redis address{why}; write redis://HOST:PORT/DB"
        raise SettingsError(msg) from None


def _target(kind: str, url: str) -> Target:
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(options.keys() - _OPTIONS)
    if unknown:
        msg = f"option {unknown[0]!r} is none of {', '.join(sorted(_OPTIONS))}"
        raise ValueError(msg)
    credentials, at, hosts = parts.netloc.rpartition("@")
    name, _, password = credentials.partition(":")
    unix = parts.scheme == "unix"
    path = unquote(parts.path)
    if unix and (hosts or len(path) < 2):  # noqa: PLR2004 - a slash and a name
        msg = "a unix socket is written unix:///PATH"
        raise ValueError(msg)
    service, db = _service_and_db(kind, "" if unix else path.strip("/"), options.get("db", ""))
    default = SENTINEL_PORT if kind == SENTINEL else PORT
    return Target(
        kind=kind,
        addresses=() if unix else tuple(_address(host, default) for host in hosts.split(",")),
        path=path if unix else "",
        db=db,
        service=service,
        username=unquote(name) or None,
        password=unquote(password) if at and password else None,
        sentinel_username=options.get("sentinel_username"),
        sentinel_password=options.get("sentinel_password"),
        tls=parts.scheme.startswith("rediss"),
        ca=options.get("ca", ""),
        cert=options.get("cert", ""),
        key=options.get("key", ""),
    )


def _service_and_db(kind: str, path: str, db: str) -> tuple[str, int]:
    service = ""
    if kind == SENTINEL:
        service, _, path = path.partition("/")
        if not service:
            msg = "the name of Sentinel's service is missing, as in redis+sentinel://HOST/mymaster"
            raise ValueError(msg)
    text = db or path or "0"
    if not text.isdecimal():
        msg = f"{text!r} is no number of a database"
        raise ValueError(msg)
    if kind == CLUSTER and int(text):
        msg = "a cluster has database 0 only"
        raise ValueError(msg)
    return service, int(text)


def _address(text: str, default: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        msg = "a host is missing"
        raise ValueError(msg)
    return parts.hostname, parts.port or default
