"""Alerts of what LimiterService and Envoy's service decide: every way to use a limit counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc.aio
import pytest

from ratelimitd._gen.ratelimitd.v1 import admin_pb2 as admin_pb
from ratelimitd._gen.ratelimitd.v1 import limiter_pb2 as pb
from ratelimitd._gen.ratelimitd.v1.admin_pb2_grpc import AdminServiceStub
from ratelimitd.accounts.alerting import Wish
from ratelimitd.accounts.watch import COUNTED
from tests.rpc.support.counting import until
from tests.rpc.support.limiter_service import Service, amounts, asks
from tests.rpc.support.serving import POLICY, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from ratelimitd import app

KEYS = POLICY.replace("keys:\n", "keys:\n  - {key: a, tier: plain}\n")
NOBODY = "http://127.0.0.1:1/"


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[app.Service, Service]]:
    """A limiter where the key `a` has an alert of each kind at half of its limit."""
    async with (
        running("h2corn", tmp_path, KEYS, allow_private_webhooks=True) as service,
        grpc.aio.insecure_channel(service.addresses["grpc"][0]) as channel,
    ):
        subjects = (service.hasher.key("a"),)
        for kind in ("rate_limit", "token_quota", "concurrent"):
            await service.notifier.alerting.create(subjects, Wish(kind, 50, NOBODY))
        yield service, Service(channel)


async def until_told(service: app.Service, events: int) -> None:
    """Wait for so many events, and no more."""
    counts = service.telemetry.counts
    await until(lambda: counts[COUNTED, "added"] >= events, f"{events} events")
    assert counts[COUNTED, "added"] == events


async def test_a_decision_of_several_meters_tells_of_each(
    served: tuple[app.Service, Service],
) -> None:
    """Requests and a lease in one call."""
    service, client = served
    wanted = pb.DecideRequest(domain="test", api_key="a", asks=asks("requests=5", "concurrent"))
    answer = await client.stub.Decide(wanted)
    assert answer.decision.allowed
    await until_told(service, 2)


async def test_a_reservation_is_told_of_and_so_is_what_it_really_took(
    served: tuple[app.Service, Service],
) -> None:
    """The estimate is below the threshold, what it is settled with beyond it."""
    service, client = served
    wanted = pb.ReserveRequest(domain="test", api_key="a", estimates=amounts(tokens=49))
    granted = await client.stub.Reserve(wanted)
    ticket = granted.reservation.id
    await client.stub.Settle(pb.SettleRequest(reservation_id=ticket, actual=amounts(tokens=50)))
    await until_told(service, 1)


async def test_a_revoked_key_has_no_alerts(tmp_path: Path) -> None:
    """Nobody could remove them any more."""
    async with (
        running("h2corn", tmp_path, KEYS) as service,
        grpc.aio.insecure_channel(service.addresses["admin"][0]) as channel,
    ):
        admin: Any = AdminServiceStub(channel)
        key = admin_pb.Key(api_key="registered")
        record = admin_pb.KeyRecord(tier="plain")
        await admin.AddKey(admin_pb.AddKeyRequest(key=key, record=record))
        wish = Wish("rate_limit", 50, "https://hooks.example/")
        subject = service.hasher.key("registered")
        await service.notifier.alerting.create((subject,), wish)
        await admin.RevokeKey(admin_pb.RevokeKeyRequest(key=key))
        assert await service.notifier._outbox.alerts(subject) == []
