"""The headers and the body that customers were promised, read from an answer."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tests.e2e.support.raw_http import Headers, Response

MINUTE: Final = 60
HOUR: Final = 3600
NAMES: Final = (
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "x-ratelimit-reset-after",
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The four headers, each of which came exactly once."""

    limit: int
    remaining: int
    reset: int
    reset_after: int


def shown(answer: Response) -> Shown:
    """Read the four headers; fails where one is missing or doubled."""
    values = []
    for name in NAMES:
        (value,) = answer.all(name)
        values.append(int(value))
    limit, remaining, reset, reset_after = values
    return Shown(limit=limit, remaining=remaining, reset=reset, reset_after=reset_after)


def ours(answer: Response) -> list[str]:
    """Every header of the limiter's that an answer carries."""
    return [name for name, _ in answer.headers if "ratelimit" in name or name == "retry-after"]


def bearer(key: str) -> Headers:
    """The header that names the caller."""
    return [("authorization", f"Bearer {key}".encode())]


def denial(answer: Response) -> dict[str, Any]:
    """The `details` of a 429, whose other parts are as promised."""
    assert answer.status == 429
    assert answer.all("content-type") == ["application/json"]
    error = json.loads(answer.body)["error"]
    details: dict[str, Any] = error.pop("details")
    assert error == {
        "code": "RATE_LIMIT_EXCEEDED",
        "message": "API rate limit exceeded",
        "status": 429,
    }
    assert answer.body.startswith(b'{"error": {"code": "RATE_LIMIT_EXCEEDED", "message": ')
    assert answer.body.endswith(b', "status": 429}}')
    return details
