"""What customers were promised: one check for each promise.

A check is an async function of a `Site`; it begins in a minute that has some seconds left.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import grpc
import pytest

from ratelimitd._gen.ratelimitd.v1 import admin_pb2 as pb
from tests.e2e.support import raw_http
from tests.e2e.support.promised import HOUR, MINUTE, bearer, denial, ours, shown
from tests.e2e.support.waiting import wait_until

if TYPE_CHECKING:
    from tests.e2e.support.page import Tier
    from tests.e2e.support.sites import Site

STREAM: Final = "/v1/agents/a1/stream"


async def holds(site: Site, key: str, count: int) -> bool:
    """Say whether so many of a key's requests are under way."""
    limits = {each["name"]: each["used"] for each in (await site.usage(key))["limits"]}
    return bool(limits["concurrent"] == count)


async def settled(site: Site, key: str, tokens: int) -> None:
    """Wait until so many tokens are counted and nothing is held: Envoy tells of an end after it."""

    async def so() -> bool:
        used = (await site.usage(key))["tokens"]["used"]
        return bool(used == tokens) and await holds(site, key, 0)

    await wait_until(so, description=f"{tokens} tokens used")


async def requests_are(site: Site, tier: Tier) -> None:
    """The hour's limit is shown, the minute's denies, and usage tells of all."""
    end = time.time() // MINUTE * MINUTE + MINUTE
    key = await site.key(tier.name)
    first = shown(await site.request(key))
    assert (first.limit, first.remaining) == (tier.hour, tier.hour - 1)
    assert first.reset - first.reset_after <= time.time() + 1
    await site.use(key, "requests", tier.minute - 2)
    assert (await site.request(key)).status == 200
    denied = await site.request(key)
    told = shown(denied)
    assert (told.limit, told.remaining, told.reset) == (tier.minute, 0, end)
    assert denied.all("retry-after") == [str(told.reset_after)]
    assert denial(denied) == {
        "limit": tier.minute,
        "remaining": 0,
        "reset_at": datetime.fromtimestamp(end, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "retry_after": told.reset_after,
    }
    limits = {each["name"]: each["limit"] for each in (await site.usage(key))["limits"]}
    assert limits == {
        "requests/hour": tier.hour,
        "requests/minute": tier.minute,
        "concurrent": tier.concurrent,
        "tokens/month": tier.tokens,
    }


async def places_and_tokens_are(site: Site, tier: Tier) -> None:
    """As many requests at a time, and tokens until the first of the next month."""
    busy, talkative = await site.key(tier.name), await site.key(tier.name)
    for _ in range(tier.concurrent):
        await site.use(busy, "concurrent")
    denied = await site.request(busy)
    assert (denial(denied)["limit"], denied.all("retry-after")) == (tier.concurrent, ["1"])
    await site.use(talkative, "tokens", tier.tokens)
    denied = await site.request(talkative)
    assert denial(denied)["limit"] == tier.tokens
    month = datetime.fromtimestamp(shown(denied).reset, UTC)
    assert (month.day, month.hour, month.minute, month.second) == (1, 0, 0, 0)


async def a_custom_tier_is_what_its_key_says(site: Site) -> None:
    """Limits of the key's own, of any window; without any it is no key."""
    key = await site.key("enterprise", "requests=7/hour", "requests=5/day")
    answer = await site.request(key)
    assert (shown(answer).limit, shown(answer).remaining) == (7, 6)
    names = [each["name"] for each in (await site.usage(key))["limits"]]
    assert names == ["requests/hour", "requests/day"]
    with pytest.raises(grpc.RpcError, match="give this key at least one limit"):
        await site.key("enterprise")


async def a_key_is_one_in_both_headers(site: Site) -> None:
    """One set of counts, however it is sent; both at once are refused."""
    key = await site.key("pro")
    headers = (bearer(key), [("x-api-key", key.encode())])
    answers = [await site.deployment.edge.request(headers=each) for each in headers]
    assert [shown(answer).remaining for answer in answers] == [999, 998]
    both = await site.deployment.edge.request(headers=[*headers[0], *headers[1]])
    assert both.status == 400


async def health_and_usage_are_never_charged(site: Site) -> None:
    """Also of a key whose minute is used up, and without a header of ours."""
    key = await site.key("free")
    await site.use(key, "requests", 10)
    assert (await site.request(key)).status == 429
    for method in ("GET", "HEAD"):
        answer = await site.deployment.edge.request(method, "/health", bearer(key))
        assert (answer.status, ours(answer)) == (200, [])
    answer = await site.deployment.edge.request("GET", "/v1/usage", bearer(key))
    assert ours(answer) == []
    assert (await site.usage(key))["requests"] == {"used": 10, "limit": 100, "remaining": 90}


async def a_stream_holds_its_place_and_its_tokens_come_at_its_end(site: Site) -> None:
    """Two streams take both places of a free key; when they have ended, it has used 84 tokens."""
    key = await site.key("free")
    target = f"{STREAM}?events=3&gap=0.3"
    streams = [await raw_http.begin(site.edge, target, f"x-api-key: {key}") for _ in range(2)]
    await wait_until(lambda: holds(site, key, 2), description="two streams run")
    assert denial(await site.request(key))["limit"] == 2
    assert (await site.usage(key))["tokens"]["used"] == 0
    for reader, writer in streams:
        await reader.readuntil(b"data: [DONE]")
        writer.close()
    await settled(site, key, 84)
    assert (await site.usage(key))["requests"]["used"] == 2


async def who_hangs_up_pays_for_what_was_told(site: Site) -> None:
    """And holds nothing any more."""
    key = await site.key("pro")
    target = f"{STREAM}?usage=each&tokens=40&events=3&gap=0.2"
    reader, writer = await raw_http.begin(site.edge, target, f"x-api-key: {key}")
    await reader.readuntil(b'"total_tokens": 20')
    writer.transport.abort()
    await settled(site, key, 20)


async def asking_for_more_keeps_what_was_used(site: Site) -> None:
    """A higher tier, limits of one's own, a boost: in force at once."""
    key = await site.key("free")
    await site.use(key, "requests", 10)
    assert (await site.request(key)).status == 429
    which = pb.Key(api_key=key)
    boosted = pb.KeyRecord(tier="pro")
    boosted.boost.factor = "2"
    boosted.boost.until.FromSeconds(int(time.time()) + HOUR)
    own = pb.KeyRecord(tier="pro")
    own.limits.add(meter="requests", rate="40/hour")
    for record, limit in ((pb.KeyRecord(tier="team"), 5_000), (boosted, 2_000), (own, 40)):
        await site.administer("SetKey", pb.SetKeyRequest(key=which, record=record))
        used = (await site.usage(key))["requests"]["used"]
        told = shown(await site.request(key))
        assert (told.limit, told.remaining) == (limit, limit - used - 1)
    assert used == 12


async def where_no_wait_helps_none_is_told(site: Site) -> None:
    """Of what never fits, and of a key that is refused whatever it asks."""
    denied = await site.request(await site.key("pro", "requests=0/hour"))
    assert denied.all("retry-after") == []
    details = denial(denied)
    assert (details["limit"], details["reason"]) == (0, "exceeds_limit")
    revoked = await site.key("pro")
    await site.administer("RevokeKey", pb.RevokeKeyRequest(key=pb.Key(api_key=revoked)))
    denied = await site.request(revoked)
    assert (denied.status, ours(denied)) == (429, [])
    assert b'"message": "API key is revoked"' in denied.body


PROMISES: Final = (
    a_custom_tier_is_what_its_key_says,
    a_key_is_one_in_both_headers,
    health_and_usage_are_never_charged,
    a_stream_holds_its_place_and_its_tokens_come_at_its_end,
    who_hangs_up_pays_for_what_was_told,
    asking_for_more_keeps_what_was_used,
    where_no_wait_helps_none_is_told,
)
