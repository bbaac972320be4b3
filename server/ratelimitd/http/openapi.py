"""The OpenAPI document: what FastAPI cannot tell by itself.

Owns the description of errors and of the two ways to show a key.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

from ratelimitd.http import problems

if TYPE_CHECKING:
    from fastapi import FastAPI

_REF = "#/components/schemas/{model}"
_UNUSED = ("HTTPValidationError", "ValidationError")
"""Errors as FastAPI tells of them where nobody says otherwise; nothing here can end in one."""
_SECURITY = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "The API key, as with every other request.",
    },
    "x-api-key": {
        "type": "apiKey",
        "in": "header",
        "name": "x-api-key",
        "description": "The API key, in the other header that clients use. Send one of the two.",
    },
}
_SECONDS = {"schema": {"type": "integer", "minimum": 1}}
_HEADERS = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "Always `Bearer`."}},
    429: {"Retry-After": {**_SECONDS, "description": "Seconds after which it will be answered."}},
    503: {"Retry-After": {**_SECONDS, "description": "Seconds after which it is worth a try."}},
}


def failures(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what FastAPI is to say of these statuses."""
    return {status: _failure(status) for status in statuses}


def _failure(status: int) -> dict[str, Any]:
    told = problems.example(status)
    body = {"schema": {"$ref": _REF.format(model="Problem")}, "example": told}
    described: dict[str, Any] = {
        "description": f"{HTTPStatus(status).phrase}. {told['detail']}.",
        "content": {problems.MEDIA_TYPE: body},
    }
    if status in _HEADERS:
        described["headers"] = _HEADERS[status]
    return described


def describe(app: FastAPI) -> None:
    """Let an application make its document by these rules, once."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign] # the way that FastAPI documents


def _document(app: FastAPI) -> dict[str, Any]:
    made = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
    )
    components = made.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in _UNUSED:
        schemas.pop(name, None)
    for operation in (each for path in made["paths"].values() for each in path.values()):
        if _UNUSED[0] in str(operation["responses"].get("422")):
            del operation["responses"]["422"]
    problem = TypeAdapter(problems.Problem).json_schema(ref_template=_REF)
    schemas |= problem.pop("$defs", {}) | {"Problem": problem}
    components["securitySchemes"] = _SECURITY
    made["security"] = [{name: []} for name in _SECURITY]
    return made
