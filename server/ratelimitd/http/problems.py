"""Errors as application/problem+json (RFC 9457), for every status that the customers' API has.

Texts are ours: none of them repeats what was sent, so that no API key gets into an answer.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MEDIA_TYPE = "application/problem+json"
INVALID_KEY = "Show one valid API key, as `Authorization: Bearer KEY` or as `x-api-key: KEY`"
"""Of every 401: what was wrong with the key is not said."""

_STATUS = {
    400: ("MALFORMED_REQUEST", "The request's body cannot be read as JSON"),
    401: ("INVALID_API_KEY", INVALID_KEY),
    403: ("NOT_REGISTERED", "Only keys that are registered can do this"),
    404: ("NOT_FOUND", "There is nothing here"),
    405: ("METHOD_NOT_ALLOWED", "This can be had by other methods, which Allow names"),
    408: ("TOO_SLOW", "The request's body did not come in time"),
    409: ("TOO_MANY", "There are as many as there can be"),
    413: ("BODY_TOO_LARGE", "The request's body is longer than what is read of it"),
    415: ("UNSUPPORTED_MEDIA_TYPE", "Send the body as application/json"),
    422: ("INVALID_FIELDS", "The request was read, but not all of it can be done"),
    429: ("TOO_MANY_READS", "Too many requests to this API; wait as Retry-After says"),
    500: ("INTERNAL_ERROR", "This should not have happened, and has been noted"),
    503: ("UNAVAILABLE", "This cannot be looked up at present; try again"),
}
"""Code and detail of each status."""


class Violation(BaseModel):
    """What is wrong with one field."""

    field: str = Field(description="Where it is; empty: the body as a whole.")
    detail: str = Field(description="What is wrong with it, for people.")


class Problem(BaseModel):
    """An error, as RFC 9457 has it."""

    type: str = Field(description="Always `about:blank`: `status` and `code` tell all.")
    title: str = Field(description="The status in words.")
    status: int = Field(description="The HTTP status.", ge=400, le=599)
    detail: str = Field(description="What went wrong, for people.")
    code: str = Field(description="What went wrong, for programs.", examples=["INVALID_API_KEY"])
    errors: list[Violation] | None = Field(
        default=None, description="With 422: each field at fault.", exclude_if=lambda v: v is None
    )


class ProblemError(Exception):
    """Expected: the caller's mistake, or ours, to be answered with a problem."""

    def __init__(
        self,
        status: int,
        detail: str = "",
        *,
        errors: Iterable[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status)
        self.status = status
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = {name.lower(): value for name, value in (headers or {}).items()}


def example(status: int) -> dict[str, Any]:
    """Return the body of a status as documentation shows it."""
    errors = [("threshold", "write 1 to 100")] if status == HTTPStatus.UNPROCESSABLE_ENTITY else ()
    return content(ProblemError(status, errors=errors))


def content(error: ProblemError) -> dict[str, Any]:
    """Return the body of an error."""
    status = HTTPStatus(error.status)
    code, detail = _STATUS.get(error.status, (status.name, status.phrase))
    body = Problem(
        type="about:blank",
        title=status.phrase,
        status=error.status,
        detail=error.detail or detail,
        code=code,
        errors=[Violation(field=field, detail=text) for field, text in error.errors] or None,
    )
    return body.model_dump(mode="json")


def answer(error: ProblemError) -> JSONResponse:
    """Return the response of an error."""
    headers = {"cache-control": "no-store", **error.headers}
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(content(error), error.status, headers, media_type=MEDIA_TYPE)


def wait(seconds: int, status: int = 429) -> ProblemError:
    """Return the error of a caller who should come again after so many seconds."""
    return ProblemError(status, headers={"retry-after": str(seconds)})
