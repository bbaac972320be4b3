"""Whom the admin listener says that it let in: never in the caller's own words."""

from __future__ import annotations

from typing import Any

import pytest

from ratelimitd.transports.admin import WHO, AdminApplication
from tests.support.stores import at_once

TOKEN = b"a-token-of-sixteen-bytes"


def told(subject: str | None, *tokens: bytes, chain: tuple[str, ...] = ("PEM",)) -> bytes:
    """Return what the services are told of a caller with a certificate and the first token."""
    seen: list[Any] = []

    async def service(scope: Any, *_: Any) -> None:  # noqa: ANN401 - ASGI
        seen.append(dict(scope["headers"])[WHO])

    tls = {"client_cert_chain": chain, "client_cert_name": subject}
    headers = [(WHO, b"the boss"), (b"authorization", b"Bearer " + TOKEN)]
    scope = {"headers": headers, "client": ("10.1.2.3", 1), "extensions": {"tls": tls}}
    at_once(AdminApplication(service, service, tokens)(scope, None, None))
    return bytes(seen[0])


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        ("CN=ops,O=Acme", b"certificate CN=ops,O=Acme"),
        ("", b"certificate without a subject"),
        (None, b"certificate without a subject"),
        ("CN=\u00fc\r\nlevel=info\u2028", rb"certificate CN=\xfc\r\nlevel=info\u2028"),
    ],
)
def test_a_certificate_is_told_by_its_subject(subject: str | None, name: bytes) -> None:
    """In ASCII on one line, whatever its authority let stand there."""
    assert told(subject) == name + b" at 10.1.2.3"
    assert told(subject, TOKEN) == b"token 1, " + name + b" at 10.1.2.3"


def test_without_a_certificate_it_is_whoever_is_local() -> None:
    """TLS that demands none tells nothing of who it is."""
    assert told(None, chain=()) == b"local at 10.1.2.3"
