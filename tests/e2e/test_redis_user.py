"""The user that docs/redis.md describes may do all that a limiter asks of its Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ratelimitd._gen.ratelimitd.v1 import admin_pb2 as pb
from tests.e2e.support.limiter import Limiter, run_limiter
from tests.e2e.support.redis_fleet import PATIENT
from tests.e2e.support.registry_changes import administrator
from tests.rpc.support.calls import describe, outcome, question
from tests.support.redis.acl import documented_user, refused

if TYPE_CHECKING:
    from tests.support.redis.server import Server

POLICY = """
domain: test
subject: {default_tier: free}
tiers:
  free:
    requests: 100/hour
    tokens: 100/month
    concurrent: 2
    limits:
      - {meter: requests, rate: 100/minute, algorithm: sliding_window, name: sliding}
      - {meter: requests, rate: 100/second, algorithm: token_bucket, name: bucket}
"""


async def use(limiter: Limiter) -> None:
    """Register a key, let it use every meter and algorithm, and look at what it has."""
    key = pb.Key(api_key="k")
    async with administrator(limiter) as admin:
        await outcome(admin.AddKey(pb.AddKeyRequest(key=key, record=pb.KeyRecord(tier="free"))))
        called = (
            describe("api_key=k"),
            describe("api_key=k", "meter=tokens", hits=5),
            describe("api_key=k", "meter=concurrent"),
        )
        granted = await limiter.ask(question(*called))
        lease = granted.dynamic_metadata.fields["lease"].string_value
        held = ("api_key=k", "meter=concurrent", f"lease={lease}", "phase=done")
        await limiter.ask(question(describe(*held)))
        await limiter.ask(question(describe("api_key=k", hits=1, negative=True)))
        for tier in ("", "free"):
            await outcome(admin.ListKeys(pb.ListKeysRequest(tier=tier)))
        await outcome(admin.GetUsage(pb.GetUsageRequest(key=key)))
        await outcome(admin.ListLeases(pb.ListLeasesRequest(key=key)))
        await outcome(admin.Reset(pb.ResetRequest(key=key)))
        await outcome(admin.RevokeKey(pb.RevokeKeyRequest(key=key)))


async def test_it_may_do_all_that_is_asked(redis_server: Server) -> None:
    """Redis has refused nothing, and the limiter was never without its store."""
    user = documented_user(redis_server)
    flags = ("--store-timeout", PATIENT)
    async with run_limiter(POLICY, store=user.url, flags=flags) as limiter:
        await use(limiter)
        figures = await limiter.figures()
    assert refused(redis_server) == set()
    assert (figures["store_up"], figures["registry_up"]) == (1, 1)
    assert figures.get("store_failures_total", 0) == 0


async def test_what_it_may_not_do_is_seen(redis_server: Server) -> None:
    """The twin: without one of its commands, Redis tells what was refused."""
    user = documented_user(redis_server, without="hmget")
    flags = ("--store-timeout", PATIENT)
    async with run_limiter(POLICY, store=user.url, flags=flags) as limiter:
        await use(limiter)
    assert "hmget" in refused(redis_server)
