"""TLS in front of a server: neither program of the wheels was built with it.

It is a `Proxy` that ends TLS, so its faults can be switched too. The certificates are of an
authority that the front has for itself.
"""

from __future__ import annotations

import contextlib
import ssl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.support.certificates import Authority, Identity
from tests.support.redis.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.redis.daemon import Daemon


class TlsFront(NamedTuple):
    """Where TLS is spoken, and what a client needs for it."""

    proxy: Proxy
    url: str
    """`rediss://127.0.0.1:PORT`, with the server's password if it has one."""
    authority: Authority
    ca_file: Path
    """The authority, as PEM."""
    client_cert: Path
    """A certificate of that authority for a client, as PEM, with its key beside it."""
    client_key: Path


@contextlib.asynccontextmanager
async def tls_front(
    server: Daemon, *, identity: Identity | None = None, mutual: bool = False
) -> AsyncIterator[TlsFront]:
    """Serve `rediss://` for `server`; gone on exit.

    Without an `identity` of the test's choice the front has a good one for 127.0.0.1; by `mutual`
    it refuses clients without a certificate of its authority.
    """
    authority = Authority()
    with tempfile.TemporaryDirectory(prefix="ratelimitd-") as name:
        folder = Path(name)
        (folder / "ca.crt").write_bytes(authority.cert)
        cert, key = _written(folder, "server", identity or authority.issue())
        client_cert, client_key = _written(folder, "client", authority.issue("limiter"))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(cert, key)
        if mutual:
            context.load_verify_locations(folder / "ca.crt")
            context.verify_mode = ssl.CERT_REQUIRED
        async with Proxy(server, context) as proxy:
            ca = folder / "ca.crt"
            yield TlsFront(proxy, proxy.url, authority, ca, client_cert, client_key)


def _written(folder: Path, name: str, identity: Identity) -> tuple[Path, Path]:
    cert, key = folder / f"{name}.crt", folder / f"{name}.key"
    cert.write_bytes(identity.cert)
    key.write_bytes(identity.key)
    return cert, key
