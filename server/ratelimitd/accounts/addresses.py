"""Where a webhook may lead: URLs as customers write them, and addresses that are not ours.

Pure: resolves no name and opens no connection. Whoever does checks every address that a name
resolves to with `is_public`, and connects to what was checked (`http.webhooks`).
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final, NamedTuple
from urllib.parse import urlsplit

LONGEST_URL: Final = 2_048
_PORTS = {"https": 443, "http": 80}
_NAME = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,62}\.)?([a-z0-9_-]{1,63}\.)*[a-z0-9-]{1,63}"
)
_NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)")
_PRINTABLE = re.compile(r"[!-~]+")
_UNSAFE = frozenset('\\"<>^`{|}')
_WITHIN_IPV6 = (
    ipaddress.ip_network("64:ff9b::/96"),
    ipaddress.ip_network("64:ff9b:1::/48"),
    ipaddress.ip_network("::/96"),
    ipaddress.ip_network("fec0::/10"),
)
"""IPv6 that leads to IPv4 (NAT64, the old compatible form) or to a site's own network."""
_SHARED = ipaddress.ip_network("100.64.0.0/10")

Ip = ipaddress.IPv4Address | ipaddress.IPv6Address


class Destination(NamedTuple):
    """A webhook's URL, taken apart."""

    is_tls: bool
    host: str
    """A name in lower case, or an address without brackets."""
    port: int
    target: str
    """Path and query, as they are sent."""

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = _PORTS["https" if self.is_tls else "http"]
        return host if self.port == default else f"{host}:{self.port}"


def is_public(address: str) -> bool:
    """Say whether an address is on the public Internet: not ours, nobody's, not everybody's."""
    try:
        ip: Ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.scope_id is not None:
            return False
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo and ip.teredo[1])
        if inner:
            return ip.ipv4_mapped is not None and is_public(str(inner))
        if any(ip in network for network in _WITHIN_IPV6):
            return False
    elif ip in _SHARED:
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


def read_url(url: str, *, allow_private: bool) -> Destination:
    """Return where a URL leads. Raises `ValueError` with one sentence for its author.

    `allow_private` admits addresses of our own and plain http.
    """
    if len(url) > LONGEST_URL or not _PRINTABLE.fullmatch(url) or _UNSAFE.intersection(url):
        raise ValueError(f"write a URL of at most {LONGEST_URL} printable ASCII characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError("the URL cannot be read") from error
    schemes = ("https", "http") if allow_private else ("https",)
    if parts.scheme not in schemes:
        raise ValueError("the URL must begin with https://")
    if "@" in parts.netloc:
        raise ValueError("the URL must not hold a user or a password")
    if parts.fragment or "#" in url:
        raise ValueError("the URL must not have a fragment")
    host = _host(parts.hostname or "", allow_private=allow_private)
    if port == 0:
        raise ValueError("the URL's port cannot be 0")
    path = parts.path or "/"
    target = f"{path}?{parts.query}" if parts.query else path
    return Destination(parts.scheme == "https", host, port or _PORTS[parts.scheme], target)


def _host(host: str, *, allow_private: bool) -> str:
    """Return a host that can be connected to. Raises `ValueError`."""
    try:
        ip: Ip | None = ipaddress.ip_address(host)
    except ValueError:
        ip = None
    if ip is not None:
        if not allow_private and not is_public(host):
            raise ValueError("the URL leads to an address that is not public")
        return str(ip)
    name = host.removesuffix(".")
    last = name.rpartition(".")[2]
    if not _NAME.fullmatch(name) or _NUMBER.fullmatch(last):  # 127.1, 0x7f000001, 2130706433
        raise ValueError("the URL's host is neither a name nor an address in its usual form")
    if not allow_private and ("." not in name or last in {"localhost", "local", "internal"}):
        raise ValueError("the URL's host is not a public name")
    return name
