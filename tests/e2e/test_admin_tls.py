"""The admin listener where others can reach it: TLS, certificates, tokens, and who the log says.

`127.1` is loopback to the system and no loopback address to us: what is refused or demanded beyond
this machine is so there, and nobody else can connect.
"""

from __future__ import annotations

import json
import ssl
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.e2e.support.cli import FREE, SAMPLE, Running, ratelimitd, running
from tests.support.certificates import Authority, Mount

if TYPE_CHECKING:
    import contextlib
    from pathlib import Path

    from tests.support.certificates import Identity

ELSEWHERE = ("--listen", FREE, "--http", FREE, "--admin", "127.1:0", "--transport", "h2corn")
TOKEN = "a-token-of-sixteen-bytes"
SHOWN = {"RATELIMITD_ADMIN_TOKEN": TOKEN}
OURS, OTHERS = Authority(), Authority()
SERVER, CLIENT, STRANGER = OURS.issue(), OURS.issue(), OTHERS.issue()


@pytest.fixture
def mutual(tmp_path: Path) -> tuple[str, ...]:
    """The flags of a limiter that demands certificates of ours."""
    return Mount(tmp_path / "mutual", SERVER, client_ca=OURS.cert).flags


@pytest.fixture
def token(tmp_path: Path) -> tuple[str, str]:
    """The flag that demands a token."""
    (tmp_path / "token").write_text(TOKEN, "utf-8")
    return "--admin-token-file", str(tmp_path / "token")


def reachable(*flags: str) -> contextlib.AbstractContextManager[Running]:
    """Run a limiter whose admin listener others could reach."""
    return running(
        "serve", "--policy", SAMPLE, "--log-format", "json", "--drain", "0s", *ELSEWHERE, *flags
    )


def trusting(folder: Path, client: Identity | None = None) -> list[str]:
    """Return the flags of a client that trusts our authority, with a certificate if it has one."""
    held = {"--tls-ca": OURS.cert}
    if client is not None:
        held |= {"--tls-cert": client.cert, "--tls-key": client.key}
    flags = []
    for flag, pem in held.items():
        (folder / f"own{flag}").write_bytes(pem)
        flags += [flag, str(folder / f"own{flag}")]
    return flags


def listed(limiter: Running, *flags: str, token: bool = False) -> tuple[int, str]:
    """Ask for all keys; return the status and what was complained."""
    env = SHOWN if token else None
    done = ratelimitd("keys", "list", "--admin", limiter["admin"], *flags, env=env)
    assert bool(done.stdout) is (done.returncode == 0)
    return done.returncode, done.stderr


def who(log: str) -> list[str]:
    """Return whom the audit log names, line by line."""
    lines = map(json.loads, log.splitlines())
    return [line["who"] for line in lines if "who" in line]


def test_a_certificate_is_enough_and_needed(tmp_path: Path, mutual: tuple[str, ...]) -> None:
    """To administer and to scrape; the audit log has its subject, and the operator was warned."""
    with reachable(*mutual) as limiter:
        good = trusting(tmp_path, CLIENT)
        added = ratelimitd("keys", "add", "k", "--tier=pro", "--admin", limiter["admin"], *good)
        assert added.returncode == 0, added.stderr
        context = ssl.create_default_context(cadata=OURS.cert.decode())
        context.load_cert_chain(tmp_path / "own--tls-cert", tmp_path / "own--tls-key")
        with urllib.request.urlopen(f"https://{limiter['admin']}/metrics", context=context) as page:
            assert b"ratelimitd_decisions" in page.read()
        for refused in (trusting(tmp_path, STRANGER), trusting(tmp_path), []):
            status, complaint = listed(limiter, *refused)
            assert (status, "answers to --tls-ca only" in complaint) == (69, True)
        _, log = limiter.stop()
    (name,) = who(log)
    assert name.startswith("certificate ")
    assert name.endswith(" at 127.0.0.1")
    assert "trustme" in name
    assert "may administer keys, also those who shall only ask" in log


def test_tls_goes_with_tokens(tmp_path: Path, token: tuple[str, str]) -> None:
    """Where the limiter demands no certificates, the token says who it is, and nobody reads it."""
    flags = Mount(tmp_path / "tls", SERVER).flags
    with reachable(*flags, *token) as limiter:
        trust = trusting(tmp_path)
        status, complaint = listed(limiter, *trust)
        assert (status, "wants a token" in complaint) == (2, True)
        assert listed(limiter, *trust, token=True)[0] == 0
        assert listed(limiter, token=True)[0] == 69
        _, log = limiter.stop()
    assert "plaintext" not in log


def test_with_both_both_are_demanded(
    tmp_path: Path, mutual: tuple[str, ...], token: tuple[str, str]
) -> None:
    """So a certificate that only lets ask does not let administer."""
    with reachable(*mutual, *token) as limiter:
        good = trusting(tmp_path, CLIENT)
        assert listed(limiter, *good)[0] == 2
        words = ("keys", "add", "k", "--tier=pro", "--admin", limiter["admin"], *good)
        assert ratelimitd(*words, env=SHOWN).returncode == 0
        _, log = limiter.stop()
    (name,) = who(log)
    assert name.startswith("token 1, certificate ")


def test_a_token_in_the_clear_is_warned_of(token: tuple[str, str]) -> None:
    """It is allowed, for scrapers in a network of one's own; what is `serve`'s does no harm."""
    env = {**SHOWN, "RATELIMITD_TLS_CERT": "/nowhere", "RATELIMITD_TLS_KEY": "/nowhere"}
    with reachable(*token) as limiter:
        done = ratelimitd("keys", "list", "--admin", limiter["admin"], env=env)
        assert done.returncode == 0, done.stderr
        _, log = limiter.stop()
    assert "speaks plaintext beyond this machine" in log
