"""TLS on the gRPC listeners: who gets in, what is agreed on, and what a new certificate takes."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import ssl
import warnings
from typing import TYPE_CHECKING

import pytest

from tests.rpc.support.secure import (
    agreed_on,
    asked,
    borne_in_silence,
    channel,
    clients,
    failures_while_replaced,
    handshake,
    of_version,
    shown,
    verdict,
    versions,
)
from tests.rpc.support.serving import TRANSPORTS, running
from tests.support.certificates import HOST, Authority, Mount

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


OURS, OTHERS = Authority(), Authority()
SERVER = OURS.issue()
GOOD, STRANGERS = clients(OURS, OTHERS)


@pytest.fixture
def mount(tmp_path: Path) -> Mount:
    """The certificate of `server`, which demands one of its clients."""
    return Mount(tmp_path / "tls", SERVER, client_ca=OURS.cert)


@pytest.fixture
async def mutual(transport: str, mount: Mount, tmp_path: Path) -> AsyncIterator[str]:
    """A limiter that only clients with a certificate of ours may call."""
    async with running(transport, tmp_path, tls=mount.tls) as service:
        yield service.addresses["grpc"][0]


@pytest.fixture
async def open_to_all(transport: str, mount: Mount, tmp_path: Path) -> AsyncIterator[str]:
    """A limiter that anybody may call over TLS."""
    tls = dataclasses.replace(mount.tls, client_ca=None)
    async with running(transport, tmp_path, tls=tls) as service:
        yield service.addresses["grpc"][0]


async def test_clients_of_our_authority_only_are_answered(mutual: str) -> None:
    """All others are refused, each in its connection, which costs the next client nothing."""
    assert await verdict(mutual, GOOD) == "answered"
    found = {name: await verdict(mutual, pems) for name, pems in STRANGERS.items()}
    assert found == dict.fromkeys(STRANGERS, "UNAVAILABLE")
    assert await verdict(mutual, GOOD) == "answered"


async def test_without_a_client_ca_anybody_may_call_over_tls(open_to_all: str) -> None:
    """The strangers of the test above are strangers to the server only, but for three."""
    found = {name: await verdict(open_to_all, pems) for name, pems in STRANGERS.items()}
    assert found == dict.fromkeys(STRANGERS, "answered") | {
        "trusts another": "UNAVAILABLE",
        "plaintext": "UNAVAILABLE",
    }


async def test_tls_to_a_plaintext_port_is_refused(transport: str, tmp_path: Path) -> None:
    """And the port goes on to serve those who speak as it does."""
    async with running(transport, tmp_path) as service:
        (address,) = service.addresses["grpc"]
        assert await verdict(address, GOOD) == "UNAVAILABLE"
        assert await verdict(address, None) == "answered"


async def test_a_server_whose_certificate_is_for_another_name_is_not_trusted(
    transport: str, tmp_path: Path
) -> None:
    """The client's own check, which shows that these tests' clients make one."""
    other = Mount(tmp_path / "tls", OURS.issue("limiter.example"))
    async with running(transport, tmp_path, tls=other.tls) as service:
        assert await verdict(service.addresses["grpc"][0], GOOD) == "UNAVAILABLE"


async def test_tls_1_2_and_1_3_are_spoken_and_older_ones_refused(open_to_all: str) -> None:
    """HTTP/2 is agreed on with each."""
    assert await versions(open_to_all, GOOD) == {
        "TLSv1": None,
        "TLSv1_1": None,
        "TLSv1_2": ("TLSv1.2", "h2", SERVER.der),
        "TLSv1_3": ("TLSv1.3", "h2", SERVER.der),
    }


async def test_a_server_that_speaks_tls_1_1_would_be_found(mount: Mount) -> None:
    """The twin: the same client reaches one that allows it."""
    weak = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    weak.load_cert_chain(mount.tls.cert, mount.tls.key)
    weak.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        weak.minimum_version = ssl.TLSVersion.TLSv1
    server = await asyncio.start_server(lambda *_: None, HOST, 0, ssl=weak)
    async with server:
        address = f"{HOST}:{server.sockets[0].getsockname()[1]}"
        assert (
            await handshake(address, of_version(GOOD, ssl.TLSVersion.TLSv1_1))
        ).version == "TLSv1.1"


async def test_nothing_but_http_2_is_agreed_on(open_to_all: str) -> None:
    """Whoever offers HTTP/1.1 only is refused, or is told of no agreement."""
    assert await agreed_on(open_to_all, GOOD, "http/1.1") is None


async def test_who_connects_and_says_nothing_is_sent_away(mount: Mount, tmp_path: Path) -> None:
    """After five seconds, on each transport."""

    async def silence(transport: str) -> float:
        folder = tmp_path / transport
        folder.mkdir()
        async with running(transport, folder, tls=mount.tls) as service:
            return await borne_in_silence(service.addresses["grpc"][0])

    for waited in await asyncio.gather(*map(silence, TRANSPORTS)):
        assert 4 < waited < 15


async def test_a_new_certificate_fails_no_call(
    transport: str, mutual: str, mount: Mount, tmp_path: Path
) -> None:
    """Grpcio shows it to whoever connects from then on; h2corn after a restart only."""
    pems = OURS.client()
    assert await shown(mutual, pems) == SERVER.der
    assert await failures_while_replaced(mutual, mount, OURS, GOOD) == 0
    newest = ssl.PEM_cert_to_DER_cert(mount.tls.cert.read_text())
    assert newest != SERVER.der
    assert await shown(mutual, pems) == (SERVER.der if transport == "h2corn" else newest)
    async with running(transport, tmp_path, tls=mount.tls) as restarted:
        assert await shown(restarted.addresses["grpc"][0], pems) == newest


@pytest.mark.parametrize("transport", ["grpcio"])
async def test_a_certificate_that_cannot_be_used_is_not_taken(
    mutual: str, mount: Mount, caplog: pytest.LogCaptureFixture
) -> None:
    """The old one stays, and the log says why, once; a better one is taken then."""
    caplog.set_level(logging.INFO, "ratelimitd")
    expired, mismatched = OURS.issue(lasts=0), OURS.issue()._replace(key=SERVER.key)
    for bad in (expired, mismatched):
        mount.replace(bad)
        for _ in range(3):
            assert await shown(mutual, OURS.client()) == SERVER.der
    better = OURS.issue()
    mount.replace(better)
    assert await shown(mutual, OURS.client()) == better.der
    told = [record.getMessage() for record in caplog.records if "certificate" in record.msg]
    assert len(told) == 3
    assert "expired" in told[0]
    assert "is not the key of" in told[1]
    assert told[2] == "the certificate was read again"


async def test_a_new_client_ca_holds_for_whoever_connects_then(
    transport: str, mutual: str, mount: Mount
) -> None:
    """On grpcio; on h2corn the old one until a restart. Who is connected already stays so."""
    theirs = OURS.client(OTHERS.issue("client"))
    async with channel(mutual, GOOD) as standing:
        assert await asked(standing) == "answered"
        mount.replace(SERVER, client_ca=OTHERS.cert)
        found = [await verdict(mutual, pems) for pems in (GOOD, theirs)]
        assert await asked(standing) == "answered"
    as_before, as_then = ["answered", "UNAVAILABLE"], ["UNAVAILABLE", "answered"]
    assert found == (as_before if transport == "h2corn" else as_then)
