"""Clients of TLS: gRPC's, and one that shows what was agreed on and who answered."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
import warnings
from typing import TYPE_CHECKING, NamedTuple

import grpc.aio

from tests.rpc.support.calls import Client, Failed, one, outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratelimitd.cli._client import Pems
    from tests.support.certificates import Authority, Mount

PATIENCE = 10
OPTIONS = (("grpc.use_local_subchannel_pool", 1),)


def channel(address: str, pems: Pems | None) -> grpc.aio.Channel:
    """Return a channel of its own connection; without `pems` it is plaintext."""
    if pems is None:
        return grpc.aio.insecure_channel(address, options=OPTIONS)
    credentials = grpc.ssl_channel_credentials(pems.ca, pems.key, pems.cert)
    return grpc.aio.secure_channel(address, credentials, options=OPTIONS)


async def verdict(address: str, pems: Pems | None) -> str:
    """Connect and ask once: `answered`, or the name of the status."""
    async with channel(address, pems) as opened:
        return await asked(opened)


async def asked(opened: grpc.aio.Channel) -> str:
    """Ask once: `answered`, or the name of the status."""
    answer = await outcome(Client(opened).ask(one("api_key=large"), timeout=PATIENCE))
    return answer.code.name if isinstance(answer, Failed) else "answered"


def clients(ours: Authority, others: Authority) -> tuple[Pems, dict[str, Pems | None]]:
    """Return a client that our servers should answer, and those that they should not."""
    strangers: dict[str, Pems | None] = {
        "no certificate": ours.client(),
        "another authority's": ours.client(others.issue("client")),
        "expired": ours.client(ours.issue("client", lasts=0)),
        "trusts another": others.client(ours.issue("client")),
        "plaintext": None,
    }
    return ours.client(ours.issue("client")), strangers


async def failures_while_replaced(
    address: str, mount: Mount, authority: Authority, client: Pems, each: float = 0
) -> int:
    """Replace the certificate under calls, on an old connection and on new ones; count failures."""
    answers = []
    async with channel(address, client) as standing:
        for number in range(40):
            if number == 10:
                mount.replace(authority.issue())
            answers.append(await verdict(address, client))
            answers.append(await asked(standing))
            await asyncio.sleep(each)
    return len(answers) - answers.count("answered")


class Agreed(NamedTuple):
    """What a handshake ended in."""

    version: str | None
    protocol: str | None
    """Of the application (ALPN)."""
    cert: bytes | None
    """The server's."""


def trusting(pems: Pems, protocols: Sequence[str] = ("h2",)) -> ssl.SSLContext:
    """Return a context that trusts an authority and offers protocols."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=pems.ca.decode())
    context.set_alpn_protocols(protocols)
    return context


async def handshake(address: str, context: ssl.SSLContext) -> Agreed:
    """Connect, and say what was agreed on. Raises `SSLError`, `OSError`."""
    host, _, port = address.rpartition(":")
    async with asyncio.timeout(PATIENCE):
        _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    found: ssl.SSLObject = writer.get_extra_info("ssl_object")
    agreed = Agreed(
        found.version(), found.selected_alpn_protocol(), found.getpeercert(binary_form=True)
    )
    writer.transport.abort()
    return agreed


async def shown(address: str, pems: Pems) -> bytes | None:
    """Return the certificate that whoever connects now is shown."""
    return (await handshake(address, trusting(pems))).cert


def of_version(pems: Pems, version: ssl.TLSVersion) -> ssl.SSLContext:
    """Return a client of exactly one version, however weak."""
    context = trusting(pems)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = context.maximum_version = version
    return context


async def versions(address: str, pems: Pems) -> dict[str, Agreed | None]:
    """Return what each version of TLS ends in; None where it is refused."""
    found: dict[str, Agreed | None] = {}
    for name in ("TLSv1", "TLSv1_1", "TLSv1_2", "TLSv1_3"):
        found[name] = None
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            found[name] = await handshake(address, of_version(pems, ssl.TLSVersion[name]))
    return found


async def agreed_on(address: str, pems: Pems, *protocols: str) -> str | None:
    """Offer protocols, and return the one that is agreed on; None also where it is refused."""
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        return (await handshake(address, trusting(pems, protocols))).protocol
    return None


async def borne_in_silence(address: str) -> float:
    """Connect, say nothing, and return the seconds until that ends."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    start = time.monotonic()
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(2 * PATIENCE):
            await reader.read()
    writer.close()
    return time.monotonic() - start
