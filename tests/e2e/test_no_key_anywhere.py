"""A full run leaves no API key anywhere: stores, files, logs, metrics, answers, complaints.

Keys come in every form that a header can have, and in places where no key belongs. At the end one
is put where it will be kept, so that the same search finds it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import TYPE_CHECKING, Any, Final

import grpc.aio
import pytest

from ratelimitd._gen.ratelimitd.v1 import admin_pb2 as pb
from ratelimitd._gen.ratelimitd.v1 import limiter_pb2
from ratelimitd._gen.ratelimitd.v1.limiter_pb2_grpc import LimiterServiceStub
from tests.e2e.support import raw_http
from tests.e2e.support.cli import ratelimitd
from tests.e2e.support.deployment import deploy
from tests.e2e.support.hooks import WITHIN, Receiver, receiver, until_watched
from tests.e2e.support.key_search import Places, found, in_folder, in_redis
from tests.e2e.support.redis_fleet import PATIENT
from tests.e2e.support.registry_changes import administrator
from tests.e2e.support.waiting import wait_until
from tests.rpc.support.calls import describe, outcome, question

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.support.deployment import Deployment
    from tests.e2e.support.limiter import Limiter
    from tests.support.redis.server import Server

KEYS: Final = {
    "registered": "sk-registered-9c41b7e25d",
    "revoked": "sk-revoked-1f6ab03d77",
    "invented": "sk-invented-e83d5502ac",
    "filed": "sk-filed-70bb4d19f2",
    "mistaken": "sk-mistaken-3ad9c6610b",
}
ALERTED: Final = 2
"""Of these, the registered one and the one in the file."""
KEPT: Final = "sk-kept-5be0a98c34"
"""Which the twin puts into a note."""
POLICY: Final = """
domain: agent-api
subject: {entry: api_key, scheme: bearer, default_tier: free, missing: free}
attributes: [org]
meters: {requests: prepaid, tokens: postpaid, concurrent: {lease: 15m}, address: prepaid}
tiers:
  free:
    requests: [100/hour]
    concurrent: 50
    tokens: 100_000/month
    limits:
      - {meter: requests, rate: 500/hour, per: [subject, model], name: model}
keys: [{key: sk-filed-70bb4d19f2, tier: free}]
"""
FORMS: Final = (
    ("authorization", "Bearer {}"),
    ("authorization", "bearer  {}"),
    ("authorization", "{}"),
    ("authorization", "Basic {}"),
    ("authorization", "Bearer {} and more"),
    ("authorization", "Bearer {}\xff"),
    ("x-api-key", "{}"),
    ("cookie", "key={}"),
    ("user-agent", "{}"),
)
ODD: Final = (
    ("api_key=Bearer {0}", "org={0}"),
    ("api_key=Bearer {0}", "meter={0}"),
    ("api_key=Bearer {0}", "meter=concurrent", "lease={0}", "phase=done"),
    ("{0}=api_key", "api_key=" + "{0}" * 200),
    ("remote_address={0}",),
)
"""Descriptors with a key where none belongs."""


async def register(limiter: Limiter) -> list[str]:
    """Register and revoke keys, make every mistake with another; return all answers."""
    free = pb.KeyRecord(tier="free", attributes={"org": "acme"})
    which = {name: pb.Key(api_key=key) for name, key in KEYS.items()}
    wrong, bad = which["mistaken"], KEYS["mistaken"]
    async with administrator(limiter) as admin:
        calls = (
            admin.AddKey(pb.AddKeyRequest(key=which["registered"], record=free)),
            admin.AddKey(pb.AddKeyRequest(key=which["registered"], record=free)),
            admin.AddKey(pb.AddKeyRequest(key=which["revoked"], record=free)),
            admin.SetKey(pb.SetKeyRequest(key=which["registered"], record=free)),
            admin.RevokeKey(pb.RevokeKeyRequest(key=which["revoked"])),
            admin.AddKey(pb.AddKeyRequest(key=which["filed"], record=free)),
            admin.AddKey(pb.AddKeyRequest(key=wrong, record=pb.KeyRecord(tier=bad))),
            admin.SetKey(pb.SetKeyRequest(key=wrong, record=free)),
            admin.GetKey(pb.GetKeyRequest(key=pb.Key(subject=bad))),
            admin.ListKeys(pb.ListKeysRequest(page_token=bad)),
            admin.ListKeys(pb.ListKeysRequest(tier=bad)),
            admin.GetUsage(pb.GetUsageRequest(key=which["invented"])),
            admin.Reset(pb.ResetRequest(key=which["registered"], meter=bad)),
            admin.Reset(pb.ResetRequest(key=which["registered"])),
            admin.ListKeys(pb.ListKeysRequest()),
        )
        return [str(await outcome(call)) for call in calls]


async def ask_for_alerts(limiter: Limiter, hooks: Receiver) -> list[str]:
    """Ask for usage and for alerts with each key; return what is answered.

    One alert leads to a URL with the key in it, where nobody listens; its owner is told that URL.
    """
    told = []
    for key in KEYS.values():
        shown = [("authorization", f"Bearer {key}".encode())]
        typed = [*shown, ("content-type", b"application/json")]
        for url in (hooks.url("/hook"), f"http://127.0.0.1:1/?key={key}"):
            wish = {"type": "rate_limit", "threshold": 1, "webhook_url": url}
            body = json.dumps(wish).encode()
            answer = await raw_http.request(limiter.http, "POST", "/v1/alerts", typed, body)
            told += [str(answer)] if key not in url else []
        for method, target in (("GET", "/v1/usage"), ("DELETE", f"/v1/alerts/{key}")):
            told.append(str(await raw_http.request(limiter.http, method, target, shown)))
    await until_watched([limiter], ALERTED)
    return told


async def through_envoy(deployment: Deployment) -> None:
    """Send each key in each form, and in the path."""
    for (name, form), key in itertools.product(FORMS, KEYS.values()):
        target = f"/v1/agents/{key}/invoke?api_key={key}"
        value = form.format(key).encode("latin-1")
        await deployment.edge.request(target=target, headers=[(name, value)])


async def past_envoy(limiter: Limiter) -> list[str]:
    """Send each key where no key belongs, to each service; return all answers."""
    asked = [
        question(describe(*(entry.format(key) for entry in entries)), domain="agent-api")
        for entries, key in itertools.product(ODD, KEYS.values())
    ]
    told = [str(await limiter.ask(each)) for each in asked]
    async with grpc.aio.insecure_channel(limiter.address) as channel:
        service: Any = LimiterServiceStub(channel)
        for key in KEYS.values():
            metadata = (("authorization", f"Bearer {key}"),)
            plain: dict[str, Any] = {"domain": "agent-api", "api_key": key}
            calls = (
                service.Decide(limiter_pb2.DecideRequest(**plain), metadata=metadata),
                service.Decide(limiter_pb2.DecideRequest(domain="agent-api", subject=key)),
                service.Reserve(limiter_pb2.ReserveRequest(**plain)),
                service.Settle(limiter_pb2.SettleRequest(reservation_id=key)),
                service.Release(limiter_pb2.ReleaseRequest(**plain, lease_id=key)),
            )
            told += [str(await outcome(call)) for call in calls]
    for address, key in itertools.product((limiter.http, limiter.admin), KEYS.values()):
        headers = [("authorization", f"Bearer {key}".encode())]
        told.append(str(await raw_http.request(address, "GET", f"/{key}?{key}", headers)))
    return told


async def by_hand(limiter: Limiter) -> str:
    """Make mistakes on the command line; return what it says."""
    key = KEYS["mistaken"]
    said = ""
    for words in (("keys", "add", key, "--tier", "none"), ("usage", key), ("keys", "show", key)):
        done = await asyncio.to_thread(ratelimitd, *words, "--admin", limiter.admin)
        said += done.stdout + done.stderr
    return said


async def written(limiter: Limiter, folder: Path, redis_server: Server | None) -> Places:
    """Return all that a limiter has written by now."""

    async def so() -> bool:
        return not (await limiter.figures()).get("store_unwritten", 0)

    await wait_until(so, description="the file has all counts")
    places = in_folder(folder)
    if redis_server:
        with redis_server.client() as client:
            places["redis"] = in_redis(client)
    log = limiter.log.read_bytes()
    assert b"a key was administered" in log
    return {**places, "log": log, "metrics": (await limiter.metrics()).encode()}


@pytest.mark.parametrize(("kind", "style"), [("redis", "json"), ("file", "text")])
async def test_no_key_is_anywhere(
    kind: str, style: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Neither registered nor revoked, invented, in the policy file, nor typed by mistake."""
    server = request.getfixturevalue("redis_server") if kind == "redis" else None
    store = server.url if server else f"file:{tmp_path / 'counts'}"
    flags = ("--store-timeout", PATIENT, "--log-format", style, "--allow-private-webhooks")
    async with deploy(POLICY, store=store, flags=flags) as deployment, receiver() as hooks:
        limiter = deployment.limiter
        answers = await register(limiter)
        answers += await ask_for_alerts(limiter, hooks)
        await through_envoy(deployment)
        answers += await past_envoy(limiter)
        await wait_until(lambda: len(hooks.got) >= ALERTED, description="alerts", within=WITHIN)
        places = await written(limiter, tmp_path, server)
        places["answers"] = "\n".join(answers).encode()
        places["webhooks"] = str(hooks.got).encode()
        places["command line"] = (await by_hand(limiter)).encode()
        assert all(places.values()), {place: len(text) for place, text in places.items()}
        assert found(places, KEYS.values()) == set()
        await _keep(limiter)
        places = await written(limiter, tmp_path, server)
        assert (("redis" if server else "file counts.keys-wal"), KEPT) in found(places, [KEPT])
        assert ("log", KEPT) in found(places, [KEPT])


async def _keep(limiter: Limiter) -> None:
    """The twin: put a key into a note, which is kept."""
    record = pb.KeyRecord(tier="free", note=json.dumps({"key": KEPT}))
    async with administrator(limiter) as admin:
        await admin.AddKey(pb.AddKeyRequest(key=pb.Key(api_key=KEPT), record=record))
