"""Certificates as files: read together, checked together, and read again when they change.

What is wrong is one `SettingsError` that names every fault and its mend, before any library of a
transport would say it in words of its own. Opens no connection.
"""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ratelimitd.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LOG = logging.getLogger("ratelimitd")

CERT, KEY, CLIENT_CA = "--tls-cert", "--tls-key", "--tls-client-ca"
CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
PRIVATE = b"PRIVATE KEY-----"
_ENCRYPTED = b"ENCRYPTED"
_FLIGHTS = 4
"""Times that each end of a handshake speaks, at most."""


class Pems(NamedTuple):
    """What the files hold."""

    cert: bytes
    key: bytes
    client_ca: bytes | None


@dataclass(frozen=True, slots=True)
class Tls:
    """The files that a listener shows and trusts."""

    cert: Path
    """Its certificate, and then those of the authorities between it and one that clients trust."""
    key: Path
    client_ca: Path | None = None
    """The authorities whose clients may call. None: anybody may."""

    @property
    def files(self) -> dict[str, Path]:
        """Each file by the flag that names it."""
        found = {CERT: self.cert, KEY: self.key}
        return found if self.client_ca is None else {**found, CLIENT_CA: self.client_ca}

    def read(self) -> Pems:
        """Return what the files hold, checked. Raises `SettingsError` with every fault."""
        pems = self._contents()
        faults = list(self._faults(pems))
        if not faults and self._contents() != pems:
            faults.append(f"{CERT} {self.cert}: the files change while they are read")
        if faults:
            raise SettingsError("\n".join(faults))
        return pems

    def _contents(self) -> Pems:
        read: dict[str, bytes] = {}
        faults = []
        for flag, path in self.files.items():
            try:
                read[flag] = path.read_bytes()
            except OSError as error:
                faults.append(f"{flag} {path}: {error.strerror}")
        if faults:
            raise SettingsError("\n".join(faults))
        return Pems(read[CERT], read[KEY], read.get(CLIENT_CA))

    def _faults(self, pems: Pems) -> Iterator[str]:
        cert, key = f"{CERT} {self.cert}", f"{KEY} {self.key}"
        sound = True
        if CERTIFICATE not in pems.cert:
            yield f"{cert}: no certificate in PEM form is in it"
            sound = False
        if PRIVATE not in pems.key:
            yield f"{key}: no private key in PEM form is in it"
            sound = False
        elif _ENCRYPTED in pems.key:
            yield f"{key}: the key is encrypted, and nobody is asked for its password; decrypt it"
            sound = False
        if sound:
            yield from self._identity_faults()
        if self.client_ca is not None:
            yield from _authority_faults(self.client_ca)

    def _identity_faults(self) -> Iterator[str]:
        """Yield what a client would object to, whichever authority it trusts."""
        try:
            _shake_hands(self.cert, self.key)
        except ssl.SSLCertVerificationError as error:
            yield f"{CERT} {self.cert}: {error.verify_message}; no client would accept it"
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                yield f"{KEY} {self.key}: it is not the key of the certificate in {self.cert}"
            else:
                yield f"{CERT} {self.cert}, {KEY} {self.key}: {_told(error)}"
        except OSError as error:
            yield f"{CERT} {self.cert}, {KEY} {self.key}: {error.strerror}"


def _shake_hands(cert: Path, key: Path) -> None:
    """Let a client that trusts this very certificate connect, in memory. Raises `SSLError`."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert, key, password=lambda: b"")
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(cert)
    sent, received = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(received, sent),
        server.wrap_bio(sent, received, server_side=True),
    )
    for end in ends * _FLIGHTS:
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue


def _authority_faults(path: Path) -> Iterator[str]:
    """Yield why a file cannot say which clients may call."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        if error.reason == "NO_CERTIFICATE_OR_CRL_FOUND":
            yield f"{CLIENT_CA} {path}: no certificate in PEM form is in it, so nobody could call"
        else:
            yield f"{CLIENT_CA} {path}: {_told(error)}"
        return
    except OSError as error:
        yield f"{CLIENT_CA} {path}: {error.strerror}"
        return
    if not context.get_ca_certs():
        yield f"{CLIENT_CA} {path}: no certificate in it is an authority's, so nobody could call"


def _told(error: ssl.SSLError) -> str:
    """Return what OpenSSL objects to, without where in its source it does so."""
    return str(error.args[-1]).partition(" (_ssl.c")[0]


class Watch:
    """The present contents of files that are replaced while they are in use.

    A look is cheap while nothing has changed. Faulty files change nothing: what was good stays.
    """

    def __init__(self, tls: Tls) -> None:
        """Read the files. Raises `SettingsError`."""
        self._tls = tls
        self._seen = self._stamp()
        self.pems = tls.read()
        """What was last good."""
        self._complaint = ""

    def look(self) -> bool:
        """Read the files again if they have changed; return whether there is something new."""
        try:
            stamp = self._stamp()
            if stamp == self._seen:
                return False
            pems = self._tls.read()
        except (SettingsError, OSError) as error:
            self._complain(str(error))
            return False
        self._seen, self._complaint = stamp, ""
        changed, self.pems = pems != self.pems, pems
        if changed:
            _LOG.info("the certificate was read again")
        return changed

    def _stamp(self) -> tuple[tuple[int, ...], ...]:
        stats = [path.stat() for path in self._tls.files.values() if path.exists()]
        return tuple((each.st_mtime_ns, each.st_size, each.st_ino) for each in stats)

    def _complain(self, complaint: str) -> None:
        """Log why the files were not taken, once: everybody who connects looks."""
        if complaint != self._complaint:
            self._complaint = complaint
            _LOG.error("the certificate was not read again: the one before stays: %s", complaint)
