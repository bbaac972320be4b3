"""Certificate files: each way to get one wrong, in a sentence that names the flag."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization

from ratelimitd.errors import SettingsError
from ratelimitd.settings import Address, Settings
from ratelimitd.tls import Tls, Watch
from tests.support.certificates import Authority, Identity, Mount

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OURS = Authority()
GOOD = OURS.issue()
DAMAGED = b"-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----\n"


def encrypted(key: bytes) -> bytes:
    """Return a key that wants a password."""
    return serialization.load_pem_private_key(key, None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"hunter2"),
    )


@pytest.fixture
def mount(tmp_path: Path) -> Mount:
    """Sound files."""
    return Mount(tmp_path / "tls", GOOD, client_ca=OURS.cert)


def test_sound_files_are_read(mount: Mount) -> None:
    """All three, byte by byte; without a client CA, two."""
    assert mount.tls.read() == (GOOD.cert, GOOD.key, OURS.cert)
    assert dataclasses.replace(mount.tls, client_ca=None).read() == (GOOD.cert, GOOD.key, None)


def test_a_certificate_with_its_intermediate_is_read(tmp_path: Path) -> None:
    """The server's own comes first."""
    chained = GOOD._replace(cert=GOOD.cert + OURS.cert)
    assert Mount(tmp_path / "tls", chained).tls.read().cert == chained.cert


IDENTITIES: dict[str, tuple[Identity, str]] = {
    "empty": (Identity(b"", GOOD.key), "--tls-cert {cert}: no certificate in PEM form is in it"),
    "in DER": (Identity(GOOD.der, GOOD.key), "--tls-cert {cert}: no certificate in PEM form"),
    "damaged": (Identity(DAMAGED, GOOD.key), "--tls-cert {cert}, --tls-key {key}: [SSL] PEM lib"),
    "no key": (Identity(GOOD.cert, GOOD.cert), "--tls-key {key}: no private key in PEM form"),
    "encrypted": (Identity(GOOD.cert, encrypted(GOOD.key)), "the key is encrypted"),
    "mismatched": (
        Identity(GOOD.cert, OURS.issue().key),
        "--tls-key {key}: it is not the key of the certificate in {cert}",
    ),
    "expired": (OURS.issue(lasts=0), "--tls-cert {cert}: certificate has expired; no client"),
    "not begun": (OURS.issue(begins=9), "--tls-cert {cert}: certificate is not yet valid"),
}


@pytest.mark.parametrize("what", IDENTITIES)
def test_a_faulty_certificate_is_told(tmp_path: Path, what: str) -> None:
    """One line, with the flag and the file."""
    identity, sentence = IDENTITIES[what]
    tls = Mount(tmp_path / "tls", identity).tls
    with pytest.raises(SettingsError) as raised:
        tls.read()
    (line,) = str(raised.value).splitlines()
    assert sentence.format(cert=tls.cert, key=tls.key) in line


AUTHORITIES = {
    "empty": (b"\n", "no certificate in PEM form is in it, so nobody could call"),
    "damaged": (DAMAGED, "PEM lib"),
    "a server's": (GOOD.cert, "no certificate in it is an authority's"),
}


@pytest.mark.parametrize("what", AUTHORITIES)
def test_a_faulty_client_ca_is_told(tmp_path: Path, what: str) -> None:
    """It would refuse everybody, or be no bound at all."""
    content, sentence = AUTHORITIES[what]
    tls = Mount(tmp_path / "tls", GOOD, client_ca=content).tls
    with pytest.raises(SettingsError, match=r"--tls-client-ca .*/ca\.crt: ") as raised:
        tls.read()
    assert sentence in str(raised.value)


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    """Three files, three lines; and those that cannot be read."""
    tls = Mount(tmp_path / "tls", Identity(b"", b""), client_ca=b"-").tls
    with pytest.raises(SettingsError) as raised:
        tls.read()
    flags = [line.split()[0] for line in str(raised.value).splitlines()]
    assert flags == ["--tls-cert", "--tls-key", "--tls-client-ca"]
    with pytest.raises(SettingsError) as raised:
        Tls(tmp_path, tmp_path / "none").read()
    assert str(raised.value).splitlines() == [
        f"--tls-cert {tmp_path}: Is a directory",
        f"--tls-key {tmp_path / 'none'}: No such file or directory",
    ]


def test_files_that_change_while_they_are_read_are_not_taken(
    mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was checked must be what is used."""

    def check(replace: Callable[[Identity], None]) -> None:
        replace(OURS.issue())

    monkeypatch.setattr("ratelimitd.tls._shake_hands", lambda *_: check(mount.replace))
    with pytest.raises(SettingsError, match="the files change while they are read"):
        mount.tls.read()


def test_a_unix_socket_is_never_tls(mount: Mount, tmp_path: Path) -> None:
    """Said before anything listens."""
    listen = (Address("127.0.0.1", 0), Address(path="limiter.sock"))
    with pytest.raises(SettingsError, match=r"--listen unix:limiter\.sock: TLS is for addresses"):
        Settings(policy=tmp_path, listen=listen, tls=mount.tls)


def test_tls_does_not_stand_in_for_a_secret(mount: Mount, tmp_path: Path) -> None:
    """It hides keys on their way; the secret hides them where they are stored."""
    with pytest.raises(SettingsError, match="give --secret-file FILE"):
        Settings(policy=tmp_path, listen=(Address("0.0.0.0", 1),), tls=mount.tls)


def test_a_look_takes_what_has_changed(mount: Mount) -> None:
    """And nothing where nothing has; the same bytes written anew are no news."""
    watch = Watch(mount.tls)
    assert not watch.look()
    mount.replace(GOOD)
    assert not watch.look()
    newer = OURS.issue()
    mount.replace(newer)
    assert watch.look()
    assert watch.pems == (newer.cert, newer.key, OURS.cert)
    assert not watch.look()


def test_a_look_at_files_that_are_gone_changes_nothing(
    mount: Mount, caplog: pytest.LogCaptureFixture
) -> None:
    """Said once in the log, however many connect."""
    caplog.set_level(logging.INFO, "ratelimitd")
    watch = Watch(mount.tls)
    mount.tls.key.unlink()
    assert [watch.look() for _ in range(3)] == [False] * 3
    assert watch.pems.key == GOOD.key
    (record,) = caplog.records
    assert "--tls-key" in record.getMessage()
