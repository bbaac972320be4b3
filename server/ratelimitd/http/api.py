"""The customers' API as a FastAPI application: usage, its document, and a page for people.

HTTP in, use case, HTTP out: what a key may see is `accounts.customers`' business, who is let in so
far `http.door`'s. Imported by the process that serves HTTP only: FastAPI costs a start 0.25 s and
5 MiB. Without `from __future__ import annotations`, for FastAPI reads the annotations of closures.
"""

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from ratelimitd import __version__
from ratelimitd.accounts.customers import Credential, Customer, Customers
from ratelimitd.accounts.reads import PER_ADDRESS, PER_KEY, ReadLimit
from ratelimitd.errors import InvalidFieldsError, StoreError
from ratelimitd.http import page, problems, usage
from ratelimitd.http.openapi import describe, failures
from ratelimitd.http.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_KEY_HEADERS = {b"authorization": True, b"x-api-key": False}
_UNAVAILABLE_WAIT = 1
_SUMMARY = "How much a key has used, and alerts before the wall"
_DESCRIPTION = f"""\
Show your API key as with every other request: `Authorization: Bearer KEY`, or `x-api-key: KEY`.
Nothing here is charged to your limits; it has limits of its own: {PER_KEY} requests a minute for
each key and {PER_ADDRESS} from one address. Errors are `application/problem+json` (RFC 9457).
How to stay below your limits, and what to do at them, is in ratelimitd's guide for customers,
`docs/customers.md`.
"""
Domain = Annotated[
    str,
    Query(
        description="Whose limits, where the API has several sets of them. Without it: the first "
        "that knows the key, else the first that limits it.",
        max_length=256,
    ),
]


def application(customers: Customers, reads: ReadLimit) -> FastAPI:
    """Return the customers' API; what it raises has been answered and is for the log."""
    app = FastAPI(
        title="Usage and limits",
        summary=_SUMMARY,
        description=_DESCRIPTION,
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    describe(app)
    _tell_failures(app)
    page.add(app)
    _add_usage(app, customers, _known_by(customers, reads))
    return app


def _known_by(
    customers: Customers, reads: ReadLimit
) -> "Callable[[Request, str], Awaitable[Customer]]":
    """Return the dependency that tells who asks."""

    async def customer(request: Request, domain: Domain = "") -> Customer:
        shown = credential(request)
        if shown is None:
            raise ProblemError(401)
        wait = await reads.of_key(customers.reader(shown))
        if wait:
            raise problems.wait(wait)
        found = await customers.find(shown, domain)
        if found is None:
            raise ProblemError(401)
        return found

    return customer


def credential(request: Request) -> Credential | None:
    """Return the one key that a request shows; None: there is none, or more than one."""
    shown = [
        (value, _KEY_HEADERS[name])
        for name, value in request.scope["headers"]
        if name in _KEY_HEADERS
    ]
    if len(shown) != 1:
        return None
    value, is_authorization = shown[0]
    return Credential(value.decode("utf-8", "surrogateescape"), is_authorization)


def _add_usage(app: FastAPI, customers: Customers, known: "Callable[..., Any]") -> None:
    @app.get(
        "/v1/usage",
        summary="How your limits stand",
        operation_id="getUsage",
        tags=["usage"],
        responses=failures(401, 422, 429, 500, 503),
    )
    async def get_usage(
        who: Annotated[Customer, Depends(known)], response: Response
    ) -> usage.Usage:
        """Tell what the key has used of each of its limits. Charges nothing."""
        response.headers["cache-control"] = "no-store"
        return usage.told(await customers.usage(who))


def _tell_failures(app: FastAPI) -> None:
    """Answer everything that is raised with a problem."""

    async def problem(request: Request, error: Exception) -> Response:
        del request
        return problems.answer(_problem_of(error))

    for kind in (ProblemError, InvalidFieldsError, StoreError, HTTPException, Exception):
        app.add_exception_handler(kind, problem)
    app.add_exception_handler(RequestValidationError, problem)


def _problem_of(error: Exception) -> ProblemError:
    match error:
        case ProblemError():
            return error
        case HTTPException():
            return ProblemError(error.status_code, headers=error.headers)
        case RequestValidationError():
            return _invalid(error)
        case InvalidFieldsError():
            return ProblemError(422, errors=error.violations)
        case StoreError():
            return problems.wait(_UNAVAILABLE_WAIT, 503)
        case _:
            return ProblemError(500)


def _invalid(error: RequestValidationError) -> ProblemError:
    """Return what pydantic objects to: its texts name what is wanted, and never what was sent."""
    faults = error.errors()
    if any(fault["type"] == "json_invalid" for fault in faults):
        return ProblemError(400)
    return ProblemError(
        422,
        errors=[(".".join(map(str, fault["loc"][1:])), str(fault["msg"])) for fault in faults],
    )
