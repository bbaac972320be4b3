"""`/v1/alerts`: what a customer asks to be told, in HTTP's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from ratelimitd.accounts import alerting
from ratelimitd.accounts.addresses import LONGEST_URL
from ratelimitd.http.usage import Moment
from ratelimitd.windows import timestamp

if TYPE_CHECKING:
    from ratelimitd.accounts.alerts import Alert

WISH: dict[str, JsonValue] = {
    "type": "rate_limit",
    "threshold": 80,
    "webhook_url": "https://example.com/hooks/limits",
}
"""The promised request."""

AlertId = Annotated[str, Field(description="The alert's id.", examples=["alert_5f0c…"])]
Type = Annotated[
    Literal["rate_limit", "token_quota", "concurrent"],
    Field(
        description="What it is about: `rate_limit` the limit of requests that the headers show, "
        "`token_quota` the longest of tokens, `concurrent` requests at a time."
    ),
]


def _whole(value: object) -> object:
    """Return 80 for 80.0, which JSON does not tell apart."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Threshold = Annotated[
    int,
    BeforeValidator(_whole),
    Field(ge=1, le=100, description="How much of the limit is used, percent.", strict=True),
]
WebhookUrl = Annotated[
    str,
    Field(
        max_length=LONGEST_URL,
        json_schema_extra={"format": "uri"},
        description="Where events are posted: https, and a host that everybody can reach.",
    ),
]
LimitName = Annotated[str, Field(max_length=256)]


class Wish(BaseModel):
    """What a customer asks for."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [WISH]})

    type: Type
    threshold: Threshold
    webhook_url: WebhookUrl
    limit: LimitName | None = Field(
        default=None, description="Another limit of that type, by its name in usage."
    )


class Kept(BaseModel):
    """An alert."""

    id: AlertId
    type: Type
    threshold: Threshold
    limit: str | None = Field(
        description="The limit that was named. null: the one that the type says."
    )
    webhook_url: str | None = Field(
        description="Where its events are posted. null: it can no longer be read, and the alert "
        "should be made again."
    )
    created_at: Moment = Field(description="When it was made.")


class Made(Kept):
    """An alert that was made."""

    secret: str = Field(
        description="What the receiver verifies signatures with, as Standard Webhooks has it. Told "
        "this once.",
        examples=["whsec_…"],
    )


class Delivery(BaseModel):
    """How the last event went."""

    state: str = Field(
        description="`delivered`; `failed`, and it is tried again; `given_up`; or `unreadable`, "
        "for which see `webhook_url`.",
        examples=["delivered"],
    )
    at: Moment | None = Field(description="When that was.")
    attempts: int = Field(description="How often it was posted.", ge=0)
    status: int | None = Field(description="The HTTP status that the receiver answered.")
    error: str | None = Field(description="In a word, why there was no answer.")


class Listed(Kept):
    """An alert, and how it goes."""

    delivery: Delivery | None = Field(
        description="How the last event went. null: there was none yet."
    )


class Alerts(BaseModel):
    """The alerts of a key."""

    alerts: list[Listed] = Field(description="All of them, the oldest first.")


def wished(wish: Wish) -> alerting.Wish:
    """Return what was asked for as the use case takes it."""
    return alerting.Wish(wish.type, wish.threshold, wish.webhook_url, wish.limit or "")


def made(found: alerting.Made) -> Made:
    """Return a new alert as it is answered."""
    return Made(**_kept(found.alert, found.url), secret=found.secret)


def listed(found: alerting.Told) -> Listed:
    """Return an alert as it is answered."""
    return Listed(**_kept(found.alert, found.url), delivery=_delivery(found.delivery))


def _kept(alert: Alert, url: str) -> dict[str, Any]:
    return {
        "id": alert.id,
        "type": alert.type.value,
        "threshold": alert.threshold,
        "limit": alert.limit or None,
        "webhook_url": url or None,
        "created_at": timestamp(alert.created),
    }


def _delivery(found: alerting.Delivery | None) -> Delivery | None:
    if found is None:
        return None
    at = None if found.at is None else timestamp(found.at)
    return Delivery(**{**found._asdict(), "at": at, "error": found.error or None})
