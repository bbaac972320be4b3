"""`GET /v1/usage`: how a key's limits stand, in the promised shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from ratelimitd.model import NEVER
from ratelimitd.windows import timestamp

if TYPE_CHECKING:
    from ratelimitd.accounts import usage
    from ratelimitd.accounts.customers import Overview
    from ratelimitd.accounts.forecast import Forecast as Foreseen

Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
"""An instant, RFC 3339 in UTC."""
EXAMPLE: dict[str, JsonValue] = {
    "period": "2024-01-01T00:00:00Z",
    "requests": {"used": 523, "limit": 1000, "remaining": 477},
    "tokens": {"used": 45230, "limit": 2000000, "remaining": 1954770},
    "limits": [
        {
            "name": "requests/hour",
            "meter": "requests",
            "window": "hour",
            "used": 523,
            "limit": 1000,
            "remaining": 477,
            "reset_at": "2024-01-15T13:00:00Z",
            "forecast": {"exceeds": False, "projected": 964, "reached_at": None},
        },
        {
            "name": "requests/minute",
            "meter": "requests",
            "window": "minute",
            "used": 12,
            "limit": 100,
            "remaining": 88,
            "reset_at": "2024-01-15T12:31:00Z",
            "forecast": None,
        },
        {
            "name": "concurrent",
            "meter": "concurrent",
            "window": None,
            "used": 1,
            "limit": 10,
            "remaining": 9,
            "reset_at": None,
            "forecast": None,
        },
        {
            "name": "tokens/month",
            "meter": "tokens",
            "window": "month",
            "used": 45230,
            "limit": 2000000,
            "remaining": 1954770,
            "reset_at": "2024-02-01T00:00:00Z",
            "forecast": {"exceeds": False, "projected": 97254, "reached_at": None},
        },
    ],
}


Amount = Annotated[
    int,
    Field(
        description="How much is used. Tokens may go past their limit: the answer that does so is "
        "still given.",
        ge=0,
    ),
]
Capacity = Annotated[int, Field(description="How much may be used.", ge=0)]
Left = Annotated[int, Field(description="What is left, never below 0.", ge=0)]


class Used(BaseModel):
    """How much of a limit is used."""

    used: Amount
    limit: Capacity
    remaining: Left


class Forecast(BaseModel):
    """What comes of a limit at the present pace."""

    exceeds: bool = Field(description="Whether this pace ends above the limit.")
    projected: int = Field(description="What one whole window takes at this pace.", ge=0)
    reached_at: Moment | None = Field(
        description="When the limit is used up, if it goes on like this. null: it is not."
    )


class LimitUsage(BaseModel):
    """How one limit stands."""

    name: str = Field(description="The limit's name.")
    meter: str = Field(description="What it counts.")
    window: str | None = Field(
        description="How long it counts before it begins anew: `second` to `year`, or a length "
        "such as `30s` or `7d`; `month@15` begins on the 15th. null: it counts what is held now."
    )
    used: Amount
    limit: Capacity
    remaining: Left
    reset_at: Moment | None = Field(
        description="When all of it is there again, if nothing more is used. null: as soon as what "
        "is held is given back."
    )
    forecast: Forecast | None = Field(
        description="What comes of it at the present pace. null: there is no pace to speak of: the "
        "window is too young, too little was used, or it counts what is held."
    )


class Usage(BaseModel):
    """How a key stands."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    period: Moment = Field(
        description="The start of the present window of tokens, else of the calendar month (UTC)."
    )
    requests: Used | None = Field(
        description="The limit that the X-RateLimit headers show. null: requests are not limited."
    )
    tokens: Used | None = Field(
        description="The longest limit of tokens. null: tokens are not limited."
    )
    limits: list[LimitUsage] = Field(description="Every limit of the key.")


def told(found: Overview) -> Usage:
    """Return an overview as it is answered."""
    return Usage(
        period=timestamp(found.period),
        requests=found.requests and Used(**_used(found.requests)),
        tokens=found.tokens and Used(**_used(found.tokens)),
        limits=[_limit(each) for each in found.limits],
    )


def _used(found: usage.Usage) -> dict[str, int]:
    standing, limit = found.standing, found.limit.capacity
    return {"used": standing.before, "limit": limit, "remaining": standing.remaining}


def _limit(found: usage.Usage) -> LimitUsage:
    limit, reset = found.limit, found.standing.reset_at
    is_held = limit.window is None
    return LimitUsage(
        name=limit.name,
        meter=limit.meter.name,
        window=limit.window.name if limit.window else None,
        **_used(found),
        reset_at=None if is_held or reset == NEVER else timestamp(reset),
        forecast=found.forecast and _forecast(found.forecast),
    )


def _forecast(found: Foreseen) -> Forecast:
    at = found.reached_at
    return Forecast(
        exceeds=found.exceeds,
        projected=found.projected,
        reached_at=None if at is None else timestamp(at),
    )
