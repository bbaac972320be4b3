"""Certificates made for a test: of one authority or another, good or expired, and replaced.

Files stand as Kubernetes mounts a secret: links through `..data`, which is replaced as a whole.
"""

from __future__ import annotations

import datetime as dt
import ssl
from pathlib import Path
from typing import NamedTuple

import trustme

from ratelimitd.cli._client import Pems
from ratelimitd.tls import Tls

HOST = "127.0.0.1"
DAY = dt.timedelta(days=1)


class Identity(NamedTuple):
    """A certificate with its key."""

    cert: bytes
    key: bytes

    @property
    def der(self) -> bytes:
        """The certificate as it is seen on the wire."""
        return ssl.PEM_cert_to_DER_cert(self.cert.decode())


class Authority:
    """Somebody who issues certificates."""

    def __init__(self) -> None:
        self._ca = trustme.CA()
        self.cert = self._ca.cert_pem.bytes()

    def issue(self, host: str = HOST, *, lasts: int = 30, begins: int = -1) -> Identity:
        """Return a certificate that begins in days from now and lasts; by 0 it has expired."""
        begun = dt.datetime.now(dt.UTC) + DAY * begins
        ends = begun + DAY * lasts if lasts else begun + DAY / 2
        leaf = self._ca.issue_cert(host, not_before=begun, not_after=ends)
        return Identity(leaf.cert_chain_pems[0].bytes(), leaf.private_key_pem.bytes())

    def client(self, identity: Identity | None = None) -> Pems:
        """Return what a client is made of that trusts this authority."""
        if identity is None:
            return Pems(self.cert)
        return Pems(self.cert, identity.key, identity.cert)


class Mount:
    """A folder with certificates that can be replaced while they are in use."""

    def __init__(self, folder: Path, identity: Identity, client_ca: bytes | None = None) -> None:
        self._folder, self._versions, self._client_ca = folder, 0, client_ca
        folder.mkdir()
        self.replace(identity)
        names = ("tls.crt", "tls.key", *(("ca.crt",) if client_ca else ()))
        for name in names:
            (folder / name).symlink_to(Path("..data", name))
        self.tls = Tls(*(folder / name for name in names))

    def replace(self, identity: Identity, client_ca: bytes | None = None) -> None:
        """Put another certificate and its key in the place of those, both at once.

        A client CA, where there is one, stays unless another is given.
        """
        self._versions += 1
        self._client_ca = client_ca or self._client_ca
        version = self._folder / f"..{self._versions}"
        version.mkdir()
        (version / "tls.crt").write_bytes(identity.cert)
        (version / "tls.key").write_bytes(identity.key)
        if self._client_ca:
            (version / "ca.crt").write_bytes(self._client_ca)
        link = self._folder / "..new"
        link.symlink_to(version.name)
        link.replace(self._folder / "..data")

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags of `serve` that name the files."""
        return tuple(part for flag, path in self.tls.files.items() for part in (flag, str(path)))
