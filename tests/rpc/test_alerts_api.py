"""`/v1/alerts`: the promised request, its answer, and whatever is no such request."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from ratelimitd.accounts.alerts import MOST_ALERTS
from tests.rpc.support.http_api import Api, api_of, bearer, problem, x_api_key
from tests.rpc.support.serving import running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from ratelimitd.clock import ManualClock
    from tests.e2e.support.raw_http import Response

POLICY = """
domain: test
subject: {entry: api_key, scheme: bearer, default_tier: free}
tiers:
  free: {requests: [100/hour, 10/minute], concurrent: 2, tokens: 100_000/month}
  bare: {requests: 100/hour}
keys: [{key: mine, tier: free}, {key: theirs, tier: free}, {key: bare, tier: bare}]
headers: {report: requests/hour}
"""
URL = "https://example.com/hooks/limits?a=b"
WISH = {"type": "rate_limit", "threshold": 80, "webhook_url": URL}
JSON = ("content-type", b"application/json")
MINE = bearer("mine")


@pytest.fixture
async def api(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Api]:
    """The customers' API of a limiter of one's own."""
    async with running("h2corn", tmp_path, POLICY, clock) as service:
        yield api_of(service)


async def wish(api: Api, key: str = "mine", **changes: object) -> Response:
    """Ask for an alert."""
    body = json.dumps({**WISH, **changes}).encode()
    return await api.ask("/v1/alerts", bearer(key), JSON, method="POST", body=body)


async def listed(api: Api, key: str = "mine") -> Any:  # noqa: ANN401 - JSON
    """Return a key's alerts."""
    answer = await api.ask("/v1/alerts", x_api_key(key))
    assert answer.status == 200
    assert answer.all("cache-control") == ["no-store"]
    return json.loads(answer.body)["alerts"]


async def test_an_alert_lives_from_the_promised_request_to_its_removal(api: Api) -> None:
    """201 with the secret, once; then the list; then 204, and 404."""
    made = await wish(api)
    assert made.status == 201
    assert made.all("cache-control") == ["no-store"]
    told = json.loads(made.body)
    number, secret = told.pop("id"), told.pop("secret")
    assert number.startswith("alert_")
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert told == {**WISH, "limit": None, "created_at": "2022-01-01T12:00:31Z"}
    assert await listed(api) == [{"id": number, **told, "delivery": None}]
    gone = await api.ask(f"/v1/alerts/{number}", MINE, method="DELETE")
    assert (gone.status, gone.body) == (204, b"")
    again = await api.ask(f"/v1/alerts/{number}", MINE, method="DELETE")
    problem(again, 404, "NOT_FOUND")
    assert await listed(api) == []


async def test_a_key_has_its_own_alerts_and_no_other(api: Api) -> None:
    """Another's are neither listed nor removed, and nothing says that they are there."""
    number = json.loads((await wish(api)).body)["id"]
    assert await listed(api, "theirs") == []
    answer = await api.ask(f"/v1/alerts/{number}", bearer("theirs"), method="DELETE")
    nothing = await api.ask("/v1/alerts/alert_0", bearer("theirs"), method="DELETE")
    assert answer == nothing
    assert len(await listed(api)) == 1


async def test_other_limits_are_named(api: Api) -> None:
    """By the names that usage tells; 80.0 is 80, and null is no name."""
    assert json.loads((await wish(api, limit="requests/minute")).body)["limit"] == "requests/minute"
    assert (await wish(api, type="token_quota", threshold=100)).status == 201
    assert (await wish(api, type="concurrent", threshold=1.0, limit=None)).status == 201
    told = {(each["type"], each["threshold"]) for each in await listed(api)}
    assert told == {("rate_limit", 80), ("token_quota", 100), ("concurrent", 1)}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"type": "requests"}, "type"),
        ({"type": None}, "type"),
        ({"threshold": 0}, "threshold"),
        ({"threshold": 101}, "threshold"),
        ({"threshold": 80.5}, "threshold"),
        ({"threshold": "80"}, "threshold"),
        ({"threshold": True}, "threshold"),
        ({"threshold": 10**400}, "threshold"),
        ({"webhook_url": "http://example.com/"}, "webhook_url"),
        ({"webhook_url": "https://127.0.0.1/"}, "webhook_url"),
        ({"webhook_url": "https://user:sk-secret@example.com/"}, "webhook_url"),
        ({"webhook_url": "https://example.com/" + 2048 * "x"}, "webhook_url"),
        ({"webhook_url": "https://example.com/\ud800"}, "webhook_url"),
        ({"webhook_url": 7}, "webhook_url"),
        ({"limit": "requests/day"}, "limit"),
        ({"limit": "tokens/month"}, "limit"),
        ({"sk-secret": 1}, ""),
    ],
)
async def test_a_field_at_fault_is_named(api: Api, changes: dict[str, Any], field: str) -> None:
    """422 with the field, and what is wanted; nothing that was sent."""
    answer = await wish(api, **changes)
    told = problem(answer, 422, "INVALID_FIELDS")
    assert [each["field"] for each in told["errors"]] == [field]
    assert all(each["detail"] for each in told["errors"])
    assert b"secret" not in answer.body
    assert await listed(api) == []


async def test_all_fields_at_fault_are_named_at_once(api: Api) -> None:
    """Those that are missing as well; and what this key has no limit for."""
    answer = await api.ask("/v1/alerts", MINE, JSON, method="POST", body=b'{"limit": 1}')
    told = problem(answer, 422, "INVALID_FIELDS")
    assert {each["field"] for each in told["errors"]} == {"limit", *WISH}
    none = problem(await wish(api, "bare", type="token_quota"), 422, "INVALID_FIELDS")
    assert [each["field"] for each in none["errors"]] == ["type"]


@pytest.mark.parametrize(
    ("kind", "body", "status", "code"),
    [
        ("application/json", b"{", 400, "MALFORMED_REQUEST"),
        ("application/json", b"\xff\xfe\xfd", 400, "MALFORMED_REQUEST"),
        ("application/json", 4000 * b"[", 400, "MALFORMED_REQUEST"),
        ("application/json", b'{"threshold": ' + 5000 * b"9" + b"}", 400, "MALFORMED_REQUEST"),
        ("application/json", b"", 422, "INVALID_FIELDS"),
        ("application/json", b"[]", 422, "INVALID_FIELDS"),
        ("application/json; charset=utf-8", b"null", 422, "INVALID_FIELDS"),
        ("application/json", 8193 * b" ", 413, "BODY_TOO_LARGE"),
        ("application/x-www-form-urlencoded", b"type=rate_limit", 415, "UNSUPPORTED_MEDIA_TYPE"),
        ("text/plain", json.dumps(WISH).encode(), 415, "UNSUPPORTED_MEDIA_TYPE"),
        ("", json.dumps(WISH).encode(), 415, "UNSUPPORTED_MEDIA_TYPE"),
    ],
)
async def test_a_body_that_is_none(
    api: Api, kind: str, body: bytes, status: int, code: str
) -> None:
    """What cannot be read, is too long or of another kind."""
    headers = [MINE, ("content-type", kind.encode())]
    answer = await api.ask("/v1/alerts", *headers, method="POST", body=body)
    problem(answer, status, code)


async def test_who_may_not_have_alerts(api: Api) -> None:
    """A key that nobody registered is told so; who shows none learns nothing, whatever was sent."""
    problem(await wish(api, "invented"), 403, "NOT_REGISTERED")
    problem(await api.ask("/v1/alerts", bearer("invented")), 403, "NOT_REGISTERED")
    for body in (b"{}", json.dumps(WISH).encode()):
        answer = await api.ask("/v1/alerts", JSON, method="POST", body=body)
        problem(answer, 401, "INVALID_API_KEY")
    problem(await api.ask("/v1/alerts/alert_1", method="DELETE"), 401, "INVALID_API_KEY")


async def test_there_are_only_so_many(api: Api) -> None:
    """409 for one more, until one is removed."""
    for _ in range(MOST_ALERTS):
        assert (await wish(api)).status == 201
    told = problem(await wish(api), 409, "TOO_MANY")
    assert str(MOST_ALERTS) in told["detail"]
    first = (await listed(api))[0]["id"]
    await api.ask(f"/v1/alerts/{first}", MINE, method="DELETE")
    assert (await wish(api)).status == 201


@pytest.mark.parametrize(
    ("target", "methods"), [("/v1/alerts", "GET, POST"), ("/v1/alerts/alert_1", "DELETE")]
)
async def test_allow_names_all_methods(api: Api, target: str, methods: str) -> None:
    """Also where they are more than one."""
    answer = await api.ask(target, MINE, method="PUT")
    problem(answer, 405, "METHOD_NOT_ALLOWED")
    assert answer.all("allow") == [methods]
