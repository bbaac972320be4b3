"""The customers' API, whatever is asked of it: errors, bounds, addresses, its document and page."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import pytest
from fastapi.openapi.docs import get_swagger_ui_html
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from ratelimitd.accounts.reads import PER_ADDRESS
from ratelimitd.http import door, page, usage
from ratelimitd.http.door import LARGEST_BODY
from tests.rpc.support.http_api import Api, api_of, bearer, problem
from tests.rpc.support.serving import running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from starlette.types import Scope

    from ratelimitd.clock import ManualClock
    from ratelimitd.settings import Network

INLINE = re.compile(r"<script(?! src=)|<style|style=|\son\w+=")


@pytest.fixture
async def api(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Api]:
    """The customers' API of a limiter of one's own."""
    async with running("h2corn", tmp_path, clock=clock) as service:
        yield api_of(service)


@pytest.mark.parametrize(
    ("method", "target", "status", "code"),
    [
        ("GET", "/", 404, "NOT_FOUND"),
        ("GET", "/v1/usage/", 404, "NOT_FOUND"),
        ("GET", "/v1/usage%00", 404, "NOT_FOUND"),
        ("GET", "//v1/usage", 404, "NOT_FOUND"),
        ("GET", "/metrics", 404, "NOT_FOUND"),
        ("GET", "/docs/assets/../../../etc/passwd", 404, "NOT_FOUND"),
        ("GET", "/docs/assets/%2e%2e/%2e%2e/core.py", 404, "NOT_FOUND"),
        ("GET", "/redoc", 404, "NOT_FOUND"),
        ("POST", "/v1/usage", 405, "METHOD_NOT_ALLOWED"),
        ("OPTIONS", "/v1/usage", 405, "METHOD_NOT_ALLOWED"),
        ("BREW", "/v1/usage", 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/docs/assets/favicon.png", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/v1/usage?domain=elsewhere", 404, "NOT_FOUND"),
        ("GET", "/v1/usage?domain=" + 300 * "x", 422, "INVALID_FIELDS"),
    ],
)
async def test_an_error_is_a_problem(
    api: Api, method: str, target: str, status: int, code: str
) -> None:
    """Of every kind, as RFC 9457 has it; a method that is not allowed comes with those that are."""
    answer = await api.ask(target, bearer("k"), method=method)
    problem(answer, status, code)
    allowed = ["GET, HEAD" if "assets" in target else "GET"]
    assert answer.all("allow") == (allowed if status == 405 else [])
    assert not answer.all("access-control-allow-origin")


@pytest.mark.parametrize("header", [("transfer-encoding", b"chunked"), None])
async def test_a_long_body_is_not_read(api: Api, header: tuple[str, bytes] | None) -> None:
    """413 by its length, or when so much has come; what fits is read."""
    host, _, port = api.address.rpartition(":")

    async def status(length: int) -> bytes:
        reader, writer = await asyncio.open_connection(host, int(port))
        body = length * b"x"
        framing = f"content-length: {length}"
        if header is not None:
            framing, body = "transfer-encoding: chunked", b"%x\r\n%b\r\n0\r\n\r\n" % (length, body)
        writer.write(f"POST /v1/usage HTTP/1.1\r\nhost: x\r\n{framing}\r\n\r\n".encode() + body)
        line = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        assert b"application/problem+json" in line
        return line.split(b" ")[1]

    assert await status(LARGEST_BODY) == b"405"
    assert await status(LARGEST_BODY + 1) == b"413"
    assert await status(2 << 20) == b"413"


async def unfinished(api: Api, length: int, body: bytes) -> bytes:
    """Send a body that is to be so long up to here; return the status that comes all the same."""
    host, _, port = api.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /v1/usage HTTP/1.1\r\nhost: x\r\n")
    writer.write(b"content-length: %d\r\n\r\n%b" % (length, body))
    line = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return line.split(b" ")[1]


async def test_a_body_that_never_ends_is_not_kept(api: Api) -> None:
    """The answer comes after the first bytes too many, while the sender still sends."""
    assert await unfinished(api, 10**12, b"") == b"413"


async def test_a_body_that_drips_is_not_waited_for(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """408, when all of it should have come."""
    monkeypatch.setattr(door, "SLOWEST_BODY", 0.05)
    assert await unfinished(api, 9, b"x") == b"408"


async def test_a_fault_of_ours_says_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """500 and a line of the log with the place; neither has what the fault says."""

    def broken(_: object) -> None:
        msg = "no such row: sk-secret"
        raise LookupError(msg)

    monkeypatch.setattr(usage, "told", broken)
    with caplog.at_level(logging.INFO):
        answer = await api.ask("/v1/usage", bearer("sk-secret"))
    problem(answer, 500, "INTERNAL_ERROR")
    (record,) = [each for each in caplog.records if each.levelname == "ERROR"]
    told: dict[str, Any] = record.__dict__
    assert (told["error"], told["where"].rpartition(" ")[2]) == ("LookupError", "broken")
    assert "sk-secret" not in caplog.text + str(told) + answer.body.decode()
    assert (await api.ask("/healthz")).status == 200


async def test_an_address_asks_so_often_and_no_more(api: Api) -> None:
    """Whatever is asked and whoever says so; the last address that the proxy here wrote counts."""

    async def status(forwarded: str) -> int:
        headers = [("x-forwarded-for", forwarded.encode())]
        return (await api.ask("/nothing", *headers)).status

    for number in range(PER_ADDRESS):
        assert await status(f"10.0.0.{number % 250}, 203.0.113.7") == 404
    denied = await api.ask("/v1/usage", bearer("k"), ("x-forwarded-for", b"9.9.9.9,203.0.113.7"))
    problem(denied, 429, "TOO_MANY_READS")
    assert denied.all("retry-after") == ["1"]
    assert await status("203.0.113.7") == 429
    assert await status("203.0.113.8") == 404
    assert await status("203.0.113.7, not an address") == 404  # the peer's own
    assert (await api.ask("/healthz", ("x-forwarded-for", b"203.0.113.7"))).status == 200


async def test_a_proxy_that_is_named_speaks_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a limiter with `--trusted-proxy`, asked from there; without, the proxy asks itself."""
    told, read = [], door.address_of

    def from_elsewhere(scope: Scope, trusted: Sequence[Network]) -> str:
        told.append(read({**scope, "client": ("10.1.2.3", 1)}, trusted))
        return told[-1]

    monkeypatch.setattr(door, "address_of", from_elsewhere)
    for proxies in ((), (ip_network("10.1.0.0/16"),)):
        async with running("h2corn", tmp_path, trusted_proxies=proxies) as service:
            await api_of(service).ask("/docs", ("x-forwarded-for", b"203.0.113.7"))
    assert told == ["10.1.2.3", "203.0.113.7"]


async def test_the_document_is_sound(api: Api) -> None:
    """OpenAPI 3.1; every member, status and parameter is described, and no key stands in it."""
    answer = await api.ask("/openapi.json")
    document = json.loads(answer.body)
    assert document["openapi"].startswith("3.1")
    validate(document, cls=OpenAPIV31SpecValidator)
    assert set(document["components"]["securitySchemes"]) == {"bearer", "x-api-key"}
    for name, schema in document["components"]["schemas"].items():
        for member, what in schema.get("properties", {}).items():
            assert what.get("description"), f"{name}.{member}"
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], (path, method)
            assert operation["description"], (path, method)
            assert all(each["description"] for each in operation["responses"].values())
            assert all(each["description"] for each in operation.get("parameters", ()))
            assert "HTTPValidationError" not in json.dumps(operation)


async def test_the_page_is_made_of_our_own_files(api: Api) -> None:
    """It and its files load nothing from elsewhere, and the browser is told not to let them."""
    answer = await api.ask("/docs")
    assert answer.status == 200
    (policy,) = answer.all("content-security-policy")
    assert "default-src 'none'" in policy
    assert set(re.findall(r"\S+:", policy)) == {"data:"}  # no scheme and no host but that
    assert "unsafe" not in policy
    text = answer.body.decode()
    assert not foreign(text)
    loaded = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert loaded == [
        *("/docs/assets/favicon.png", "/docs/assets/swagger-ui.css", "/openapi.json"),
        *("/docs/assets/swagger-ui-bundle.js", "/docs/start.js"),
    ]
    for path in loaded:
        assert (await api.ask(path)).status == 200, path
    assert not INLINE.search(text)
    assert not foreign(page.START)
    assert not foreign((await api.ask("/docs/assets/swagger-ui.css")).body.decode())


def foreign(text: str) -> list[str]:
    """Return what a page, a script of ours or a style sheet would load from elsewhere."""
    data = r"""url\((?:"data:(?:[^"\\]|\\.)*"|'data:[^']*'|data:[^)"']*)\)"""
    told = re.sub(data, "", text)
    return re.findall(r"url\([^)]*|@import|(?:https?:)?//[^\s'\"<>]*", told)


def test_a_page_that_loads_from_elsewhere_is_found() -> None:
    """FastAPI's own has a CDN in it, and a script in the page."""
    theirs = bytes(get_swagger_ui_html(openapi_url="/openapi.json", title="").body).decode()
    assert len(foreign(theirs)) > 2
    assert INLINE.search(theirs)
    assert foreign("@font-face { src: url(fonts/x.woff) }")
