"""TLS as operators run it: on pyvoy, under Envoy's calls, and from the command line."""

from __future__ import annotations

import asyncio
import re
import ssl
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.architecture.source import ROOT
from tests.e2e.support.cli import ratelimitd
from tests.e2e.support.deployment import Config, patient_config
from tests.e2e.support.edge import run_edge
from tests.e2e.support.limiter import Limiter, run_limiter
from tests.e2e.support.promised import bearer
from tests.rpc.support.secure import (
    agreed_on,
    borne_in_silence,
    clients,
    failures_while_replaced,
    shown,
    verdict,
    versions,
)
from tests.rpc.support.serving import POLICY
from tests.support.certificates import Authority, Identity, Mount

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

TRANSPORTS = ("h2corn", "grpcio", "pyvoy")
IN_DOCS = re.compile(r"```yaml\n# The cluster `limiter`, one more key.*?\n(.*?)```", re.DOTALL)
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
    assert await mutual.terminate() == 0


async def test_pyvoy_speaks_new_tls_and_http_2_only(tmp_path: Path) -> None:
    """And whoever connects and says nothing is sent away."""
    flags = Mount(tmp_path / "tls", SERVER).flags
    async with run_limiter(POLICY, transport="pyvoy", flags=flags) as limiter:
        assert await versions(limiter.address, GOOD) == {
            "TLSv1": None,
            "TLSv1_1": None,
            "TLSv1_2": ("TLSv1.2", "h2", SERVER.der),
            "TLSv1_3": ("TLSv1.3", "h2", SERVER.der),
        }
        assert await agreed_on(limiter.address, GOOD, "http/1.1") is None
        assert 4 < await borne_in_silence(limiter.address) < 15


async def test_pyvoy_shows_a_new_certificate_and_fails_no_call(
    mutual: Limiter, mount: Mount
) -> None:
    """Envoy sees the folder change; whoever is connected already stays so."""
    assert await shown(mutual.address, OURS.client()) == SERVER.der
    assert await failures_while_replaced(mutual.address, mount, OURS, GOOD) == 0
    newest = ssl.PEM_cert_to_DER_cert(mount.tls.cert.read_text())
    assert newest != SERVER.der
    await until_shown(mutual, newest)


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Return once something holds: Envoy looks at its files when it comes to it."""
    async with asyncio.timeout(5):
        while not await holds():  # noqa: ASYNC110 - Envoy sets no event of ours
            await asyncio.sleep(0.05)


async def until_shown(limiter: Limiter, der: bytes) -> None:
    """Return once a certificate is shown."""

    async def is_shown() -> bool:
        return await shown(limiter.address, OURS.client()) == der

    await until(is_shown)


async def test_pyvoy_does_not_take_what_it_cannot_use(mutual: Limiter, mount: Mount) -> None:
    """The old one stays, and the log says why; but an expired one it can use, as documented."""
    mismatched = OURS.issue()._replace(key=SERVER.key)
    mount.replace(mismatched)
    await until(lambda: asyncio.to_thread(complained, mutual))
    assert await shown(mutual.address, OURS.client()) == SERVER.der
    better = OURS.issue()
    mount.replace(better)
    await until_shown(mutual, better.der)
    mount.replace(OURS.issue(lasts=0))
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        await until_shown(mutual, b"")


async def test_pyvoy_takes_a_new_client_ca(mutual: Limiter, mount: Mount) -> None:
    """Whoever connects then is judged by it."""
    theirs = OURS.client(OTHERS.issue("client"))
    assert await verdict(mutual.address, theirs) == "UNAVAILABLE"
    mount.replace(SERVER, client_ca=OTHERS.cert)

    async def is_answered() -> bool:
        return await verdict(mutual.address, theirs) == "answered"

    await until(is_answered)
    assert await verdict(mutual.address, GOOD) == "UNAVAILABLE"


async def test_pyvoy_sees_files_of_several_folders_change(tmp_path: Path) -> None:
    """One after the other, each by renaming: between the two, the old pair stays."""
    cert, key = tmp_path / "certs/tls.crt", tmp_path / "keys/tls.key"

    def put(identity: Identity) -> None:
        for path, content in ((cert, identity.cert), (key, identity.key)):
            path.parent.mkdir(exist_ok=True)
            path.with_suffix(".new").write_bytes(content)
            path.with_suffix(".new").rename(path)

    put(SERVER)
    flags = ("--tls-cert", str(cert), "--tls-key", str(key))
    async with run_limiter(POLICY, transport="pyvoy", flags=flags) as limiter:
        assert await shown(limiter.address, OURS.client()) == SERVER.der
        newer = OURS.issue()
        put(newer)
        await until_shown(limiter, newer.der)


def complained(limiter: Limiter) -> bool:
    """Say whether Envoy has written why it does not take a certificate."""
    return "envoy: Failed to reload certificates" in limiter.log.read_text("utf-8")


def documented(folder: Path, envoy: Authority, trusted: Authority) -> Config:
    """Return the shipped configuration with the key that docs/envoy.md adds to its cluster."""
    (block,) = IN_DOCS.findall((ROOT / "docs/envoy.md").read_text("utf-8"))
    folder.mkdir()
    identity = envoy.issue("envoy")
    files = {"tls.crt": identity.cert, "tls.key": identity.key, "ca.crt": trusted.cert}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    config = patient_config()
    clusters = {each["name"]: each for each in config["static_resources"]["clusters"]}
    clusters["limiter"].update(yaml.safe_load(block.replace("/etc/envoy/", f"{folder}/")))
    return config


async def outcomes(limiter: Limiter, config: Config) -> dict[str, int]:
    """Return what Envoy counts of its calls for three requests that all pass."""
    async with run_edge(limiter.address, config=config) as edge:
        for _ in range(3):
            assert (await edge.request(headers=bearer("demo-team"))).status == 200
        return await edge.outcomes()


ASKED = {"ok": 3}
UNLIMITED = {"error": 3, "failure_mode_allowed": 3}


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_envoy_asks_over_mutual_tls_as_documented(transport: str, tmp_path: Path) -> None:
    """The text of docs/envoy.md in the shipped configuration; strangers get no answer."""
    mount = Mount(tmp_path / "tls", OURS.issue("ratelimitd"), client_ca=OURS.cert)
    as_documented = documented(tmp_path / "envoy", OURS, OURS)
    strangers = {
        "plaintext": patient_config(),
        "a client of another authority": documented(tmp_path / "1", OTHERS, OURS),
        "a client that trusts another": documented(tmp_path / "2", OURS, OTHERS),
    }
    async with run_limiter(transport=transport, flags=mount.flags) as limiter:
        assert await outcomes(limiter, as_documented) == ASKED
        found = {name: await outcomes(limiter, config) for name, config in strangers.items()}
        assert found == dict.fromkeys(strangers, UNLIMITED)


async def test_envoy_does_not_ask_a_limiter_of_another_name(tmp_path: Path) -> None:
    """Though its certificate is of the same authority."""
    mount = Mount(tmp_path / "tls", OURS.issue("elsewhere"), client_ca=OURS.cert)
    async with run_limiter(flags=mount.flags) as limiter:
        assert await outcomes(limiter, documented(tmp_path / "envoy", OURS, OURS)) == UNLIMITED


async def test_decide_speaks_tls(tmp_path: Path) -> None:
    """With the authority's file, and a certificate of its own where one is demanded."""
    mount = Mount(tmp_path / "tls", SERVER, client_ca=OURS.cert)
    own = Mount(tmp_path / "own", OURS.issue("operator"), client_ca=OURS.cert)
    ca = ("--tls-ca", own.tls.client_ca)
    pair = ("--tls-cert", own.tls.cert, "--tls-key", own.tls.key)
    async with run_limiter(flags=mount.flags) as limiter:
        for flags, status in (((*ca, *pair), 0), (ca, 69), ((), 69)):
            asking = ("decide", "--target", limiter.address, *flags, "api_key=demo-team")
            done = await asyncio.to_thread(ratelimitd, *asking)
            assert done.returncode == status, done.stderr
            assert ("--tls-ca" in done.stderr) is (status == 69)
