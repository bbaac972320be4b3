"""The customers' API as its callers see it: a limiter with its HTTP listener, and JSON answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.e2e.support import raw_http

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratelimitd.app import Service
    from tests.e2e.support.raw_http import Response

PROBLEM = "application/problem+json"


class Api(NamedTuple):
    """The HTTP listener of a limiter."""

    address: str

    async def ask(
        self,
        target: str = "/v1/usage",
        *headers: tuple[str, bytes],
        method: str = "GET",
        body: bytes = b"",
    ) -> Response:
        """Send one request."""
        return await raw_http.request(self.address, method, target, headers, body)

    async def usage(self, key: str, *headers: tuple[str, bytes], query: str = "") -> Any:  # noqa: ANN401 - JSON
        """Return what `GET /v1/usage` answers a key."""
        answer = await self.ask(f"/v1/usage{query}", bearer(key), *headers)
        assert answer.status == 200, answer
        assert answer.all("content-type") == ["application/json"]
        assert answer.all("cache-control") == ["no-store"]
        return json.loads(answer.body)


def api_of(service: Service) -> Api:
    """Return the HTTP listener of a limiter in this process."""
    return Api(service.addresses["http"][0])


def bearer(key: str) -> tuple[str, bytes]:
    """Return the header that shows a key."""
    return "authorization", f"Bearer {key}".encode()


def x_api_key(key: str) -> tuple[str, bytes]:
    """Return the other header that shows a key."""
    return "x-api-key", key.encode()


def problem(answer: Response, status: int, code: str) -> dict[str, Any]:
    """Return the body of an error, which is as RFC 9457 has it."""
    assert answer.status == status, answer
    assert answer.all("content-type") == [PROBLEM]
    told: dict[str, Any] = json.loads(answer.body)
    assert told["status"] == status
    assert told["code"] == code
    assert told["type"] == "about:blank"
    assert set(told) <= {"type", "title", "status", "detail", "code", "errors"}
    return told


def spelled(answers: Sequence[Response]) -> set[str]:
    """Return all that answers say: one member if they cannot be told apart."""
    return {f"{each.status} {sorted(each.headers)} {each.body!r}" for each in answers}
