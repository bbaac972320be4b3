"""The customers' API as a FastAPI application: usage, alerts, their document and a page for people.

HTTP in, use case, HTTP out: what a key may see is `accounts.customers`' business, who is let in so
far `http.door`'s. Imported by the process that serves HTTP only: FastAPI costs a start 0.25 s and
7 MiB. Without `from __future__ import annotations`, for FastAPI reads the annotations of closures.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from ratelimitd import __version__
from ratelimitd.accounts.alerting import Alerting
from ratelimitd.accounts.customers import Credential, Customer, Customers
from ratelimitd.accounts.reads import PER_ADDRESS, PER_KEY, ReadLimit
from ratelimitd.errors import (
    InvalidFieldsError,
    KeyNotFoundError,
    KeyRefusedError,
    RateLimitdError,
    StoreError,
    TooManyAlertsError,
)
from ratelimitd.http import alerts, page, problems, usage
from ratelimitd.http.openapi import describe, failures
from ratelimitd.http.problems import ProblemError

_KEY_HEADERS = {b"authorization": True, b"x-api-key": False}
_UNAVAILABLE_WAIT = 1
_UNKNOWN_MEMBER = "there is a member that nobody knows"
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
AlertPath = Annotated[str, Path(description="The alert's id.")]
Known = Callable[[Request, str], Awaitable[Customer]]
"""Tells who asks, in which domain."""


def application(customers: Customers, reads: ReadLimit, alerting: Alerting) -> FastAPI:
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
    known = partial(_known, customers, reads)
    _add_usage(app, customers, known)
    _add_alerts(app, alerting, known)
    return app


async def _known(
    customers: Customers, reads: ReadLimit, request: Request, domain: str = ""
) -> Customer:
    """Return who asks. Raises `ProblemError`."""
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


def _add_usage(app: FastAPI, customers: Customers, known: Known) -> None:
    async def customer(request: Request, domain: Domain = "") -> Customer:
        try:
            return await known(request, domain)
        except InvalidFieldsError as error:
            raise ProblemError(404, str(error)) from None

    @app.get(
        "/v1/usage",
        summary="How your limits stand",
        operation_id="getUsage",
        tags=["usage"],
        response_description="How they stand.",
        responses=failures(401, 404, 422, 429, 500, 503),
        dependencies=[Depends(_uncached)],
    )
    async def get_usage(who: Annotated[Customer, Depends(customer)]) -> usage.Usage:
        """Tell what the key has used of each of its limits. Charges nothing."""
        return usage.told(await customers.usage(who))


def _add_alerts(app: FastAPI, alerting: Alerting, known: Known) -> None:
    async def customer(request: Request) -> Customer:
        return await known(request, "")

    who_asks = Annotated[Customer, Depends(customer)]
    _add_making(app, alerting, who_asks)
    _add_keeping(app, alerting, who_asks)


def _add_making(app: FastAPI, alerting: Alerting, who_asks: Any) -> None:  # noqa: ANN401 - a type
    @app.post(
        "/v1/alerts",
        tags=["alerts"],
        status_code=201,
        summary="Be told when a limit is nearly used",
        operation_id="createAlert",
        response_description="The alert, and the secret that its events are signed with.",
        responses=failures(400, 401, 403, 408, 409, 413, 415, 422, 429, 500, 503),
        dependencies=[Depends(_uncached), Depends(_json_alone)],
    )
    async def create(who: who_asks, wish: alerts.Wish) -> alerts.Made:
        """Post an event to a URL once in each window, when so much of the limit is used."""
        return alerts.made(await alerting.create(who.subjects, alerts.wished(wish)))


def _add_keeping(app: FastAPI, alerting: Alerting, who_asks: Any) -> None:  # noqa: ANN401 - a type
    @app.get(
        "/v1/alerts",
        tags=["alerts"],
        dependencies=[Depends(_uncached)],
        summary="Your alerts, and how they go",
        operation_id="listAlerts",
        response_description="All of them.",
        responses=failures(401, 403, 429, 500, 503),
    )
    async def told(who: who_asks) -> alerts.Alerts:
        """Tell of each alert of the key how its last event was delivered."""
        found = await alerting.told(who.subjects)
        return alerts.Alerts(alerts=[alerts.listed(each) for each in found])

    @app.delete(
        "/v1/alerts/{alert_id}",
        tags=["alerts"],
        status_code=204,
        summary="Remove an alert",
        operation_id="deleteAlert",
        response_description="It is gone, and with it what it had still to tell.",
        responses=failures(401, 403, 404, 429, 500, 503),
    )
    async def remove(who: who_asks, alert_id: AlertPath) -> None:
        """Post no more events of it."""
        if not await alerting.remove(who.subjects, alert_id):
            raise ProblemError(404)


async def _uncached(response: Response) -> None:
    response.headers["cache-control"] = "no-store"


async def _json_alone(request: Request) -> None:
    """Raise `ProblemError` for a body of another kind."""
    kind = request.headers.get("content-type", "").partition(";")[0]
    if kind.strip(" \t").lower() != "application/json":
        raise ProblemError(415)


def _tell_failures(app: FastAPI) -> None:
    """Answer everything that is raised with a problem."""

    async def problem(request: Request, error: Exception) -> Response:
        told = _problem_of(error)
        if told.status == HTTPStatus.METHOD_NOT_ALLOWED:
            told.headers["allow"] = ", ".join(_methods(request))
        return problems.answer(told)

    for kind in (HTTPException, RequestValidationError, ProblemError, RateLimitdError, Exception):
        app.add_exception_handler(kind, problem)


def _methods(request: Request) -> list[str]:
    """Return the methods of a path. Starlette names those of the first route that has it."""
    found = sorted(
        method
        for route in request.app.routes
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods or ()
    )
    return found or ["GET", "HEAD"]  # of the page's files


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
        case KeyNotFoundError():
            return ProblemError(403)
        case KeyRefusedError():  # since it was looked at
            return ProblemError(401)
        case TooManyAlertsError():
            return ProblemError(409, str(error))
        case StoreError():
            return problems.wait(_UNAVAILABLE_WAIT, 503)
        case _:
            return ProblemError(500)


def _invalid(error: RequestValidationError) -> ProblemError:
    """Return what pydantic objects to: its texts name what is wanted, and never what was sent."""
    faults = error.errors()
    if any(fault["type"] == "json_invalid" for fault in faults):
        return ProblemError(400)
    return ProblemError(422, errors=map(_violation, faults))


def _violation(fault: Any) -> tuple[str, str]:  # noqa: ANN401 - pydantic's own
    """Return the field at fault and what is; a member that nobody knows is not repeated."""
    is_unknown = fault["type"] == "extra_forbidden"
    path = fault["loc"][1:-1] if is_unknown else fault["loc"][1:]
    return ".".join(map(str, path)), _UNKNOWN_MEMBER if is_unknown else str(fault["msg"])
