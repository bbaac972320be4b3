"""TLS as operators run it: on pyvoy, under Envoy's calls, and from the command line."""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.support.limiter import Limiter, run_limiter
from tests.rpc.support.secure import (
    clients,
    failures_while_replaced,
    handshake,
    shown,
    trusting,
    verdict,
)
from tests.rpc.support.serving import POLICY
from tests.support.certificates import Authority, Mount

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

OURS, OTHERS = Authority(), Authority()
SERVER = OURS.issue()
GOOD, STRANGERS = clients(OURS, OTHERS)


@pytest.fixture
def mount(tmp_path: Path) -> Mount:
    """The certificate of the limiter, which demands one of its clients."""
    return Mount(tmp_path / "tls", SERVER, client_ca=OURS.cert)


@pytest.fixture
async def mutual(mount: Mount) -> AsyncIterator[Limiter]:
    """A limiter on pyvoy that only clients with a certificate of ours may call."""
    async with run_limiter(POLICY, transport="pyvoy", flags=mount.flags) as limiter:
        yield limiter


async def test_pyvoy_answers_clients_of_our_authority_only(mutual: Limiter) -> None:
    """As the other transports do."""
    found = {name: await verdict(mutual.address, pems) for name, pems in STRANGERS.items()}
    assert found == dict.fromkeys(STRANGERS, "UNAVAILABLE")
    assert await verdict(mutual.address, GOOD) == "answered"
    agreed = await handshake(mutual.address, trusting(OURS.client()))
    assert agreed == ("TLSv1.3", "h2", SERVER.der)
    assert await mutual.terminate() == 0


async def test_pyvoy_shows_a_new_certificate_and_fails_no_call(
    mutual: Limiter, mount: Mount
) -> None:
    """Envoy sees the folder change; whoever is connected already stays so."""
    assert await shown(mutual.address, OURS.client()) == SERVER.der
    assert await failures_while_replaced(mutual.address, mount, OURS, GOOD) == 0
    newest = ssl.PEM_cert_to_DER_cert(mount.tls.cert.read_text())
    end = time.monotonic() + 5
    while await shown(mutual.address, OURS.client()) != newest:
        assert time.monotonic() < end
        await asyncio.sleep(0.05)
    assert newest != SERVER.der
