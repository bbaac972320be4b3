"""An HTTP/1.1 client that sends the bytes it is given, headers twice if told, and hides nothing."""

from __future__ import annotations

import asyncio
import dataclasses
import http.client
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

Headers = list[tuple[str, bytes]]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One whole answer."""

    status: int
    headers: list[tuple[str, str]]
    """In the order they came, names in lower case."""
    body: bytes

    def all(self, name: str) -> list[str]:
        """Every value of the header `name`, one for each time it was sent."""
        return [value for key, value in self.headers if key == name]


class _Connection(http.client.HTTPConnection):
    """Sends any target: its base refuses what is not ASCII, and some control characters."""

    def _encode_request(self, request: str) -> bytes:
        return request.encode("latin-1")


async def request(
    address: str,
    method: str = "POST",
    target: str = "/v1/agents/a1/invoke",
    headers: Sequence[tuple[str, bytes]] = (),
    body: bytes = b"",
    source: str = "",
) -> Response:
    """Send one request on a connection of its own, from address `source` if given.

    A character of `target` is one byte (Latin-1).
    """
    return await asyncio.to_thread(_request, address, method, target, headers, body, source)


async def begin(
    address: str, target: str, *headers: str, body: int = 0
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send a request up to its body of so many bytes; it and the connection are the caller's."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    lines = (f"POST {target} HTTP/1.1", "host: x", *headers, f"content-length: {body}", "", "")
    writer.write("\r\n".join(lines).encode())
    return reader, writer


def _request(
    address: str,
    method: str,
    target: str,
    headers: Sequence[tuple[str, bytes]],
    body: bytes,
    source: str,
) -> Response:
    own = (source, 0) if source else None
    connection = _Connection(address, timeout=10, source_address=own)
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in [*headers, ("content-length", str(len(body)).encode())]:
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return Response(
            status=answer.status,
            headers=[(name.lower(), value) for name, value in answer.getheaders()],
            body=answer.read(),
        )
    finally:
        connection.close()
