"""AdminService on the admin listener: keys, usage, reset, tokens, and the audit log."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc.aio
import pytest

from ratelimitd._gen.ratelimitd.v1 import admin_pb2 as pb
from ratelimitd._gen.ratelimitd.v1.admin_pb2_grpc import AdminServiceStub
from ratelimitd.errors import SettingsError
from ratelimitd.settings import Address, Settings
from ratelimitd.tls import Tls
from tests.rpc.support.calls import Client, failure, one
from tests.rpc.support.serving import NOON, running
from tests.support.ops import MINUTE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from ratelimitd.app import Service

POLICY = """
domain: test
subject: {entry: api_key, default_tier: free}
attributes: [org]
tiers:
  free: {requests: 3/hour}
  pro: {requests: 6/hour, tokens: 100/month, concurrent: 2}
  enterprise: {custom: true}
keys:
  - {key: filed, tier: pro, limits: {requests: 8/hour}}
"""
PRO = pb.KeyRecord(tier="pro")


@dataclass
class Both:
    """A limiter, its administrator, and a caller."""

    service: Service
    admin: Any
    caller: Client


@contextlib.asynccontextmanager
async def started(folder: Path, **settings: Any) -> AsyncIterator[Both]:  # noqa: ANN401
    """Run a limiter with both clients."""
    async with (
        running("h2corn", folder, POLICY, **settings) as service,
        grpc.aio.insecure_channel(service.addresses["admin"][0]) as admin,
        grpc.aio.insecure_channel(service.addresses["grpc"][0]) as limiter,
    ):
        yield Both(service, AdminServiceStub(admin), Client(limiter))


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[Both]:
    """A limiter of one's own."""
    async with started(tmp_path) as pair:
        yield pair


def key(text: str) -> pb.Key:
    """Return a key by itself."""
    return pb.Key(api_key=text)


async def passed(both: Both, api_key: str, most: int = 12) -> int:
    """Return how many of so many calls pass."""
    codes = [await both.caller.code(f"api_key={api_key}") for _ in range(most)]
    return codes.count(1)


async def test_a_registered_key_has_its_tier_at_once(both: Both) -> None:
    """What was used before stays used; a revoked key passes no more."""
    assert await passed(both, "k", 2) == 2
    added = await both.admin.AddKey(pb.AddKeyRequest(key=key("k"), record=PRO))
    assert (added.record.tier, added.record.version > 0, added.lasting) == ("pro", True, False)
    assert await passed(both, "k") == 4
    await both.admin.RevokeKey(pb.RevokeKeyRequest(key=key("k")))
    await both.admin.SetKey(pb.SetKeyRequest(key=key("k"), record=PRO))  # which does not undo it
    answer = await both.caller.ask(one("api_key=k"))
    assert b"API key is revoked" in answer.raw_body


async def test_a_record_is_told_as_it_was_given(both: Both) -> None:
    """Every field of it, and never the key."""
    given = pb.KeyRecord(
        tier="enterprise",
        limits=[pb.OwnLimit(meter="requests", rate="20_000/hour", per=["org"])],
        attributes={"org": "acme"},
        billing_day=31,
        note="a note",
    )
    given.expires.FromSeconds(2_000_000_000)
    given.boost.until.FromSeconds(1_900_000_000)
    given.boost.factor = "1.5"
    await both.admin.AddKey(pb.AddKeyRequest(key=key("secret-key"), record=given))
    told = (await both.admin.GetKey(pb.GetKeyRequest(key=key("secret-key")))).record
    assert "secret-key" not in str(told)
    again = await both.admin.GetKey(pb.GetKeyRequest(key=pb.Key(subject=told.subject)))
    assert again.record == told
    told.ClearField("subject")
    told.ClearField("version")
    assert told == given


WRONG = (
    (pb.KeyRecord(tier="prro"), "did you mean `pro`?"),
    (pb.KeyRecord(tier="enterprise"), "the tier `enterprise` is custom: give this key at least"),
    (pb.KeyRecord(tier="pro", billing_day=32), "billing_day"),
    (pb.KeyRecord(tier="pro", attributes={"team": "x"}), "name it under `attributes`"),
    (pb.KeyRecord(tier="pro", limits=[pb.OwnLimit(meter="requests", rate="5")]), "AMOUNT/WINDOW"),
    (pb.KeyRecord(tier="pro", limits=[pb.OwnLimit(meter="cats", rate="5/day")]), "no such meter"),
    (
        pb.KeyRecord(tier="pro", limits=[pb.OwnLimit(meter="requests", rate="5/day")] * 2),
        "the same counters",
    ),
    (pb.KeyRecord(tier="pro", boost=pb.Boost(factor="2")), "say when the boost ends"),
)


@pytest.mark.parametrize(("record", "why"), WRONG)
async def test_a_faulty_record_is_not_written(both: Both, record: pb.KeyRecord, why: str) -> None:
    """The mistake is named, and nothing is there afterwards."""
    code, text = await failure(both.admin.AddKey(pb.AddKeyRequest(key=key("k"), record=record)))
    assert (code, why in text) == (grpc.StatusCode.INVALID_ARGUMENT, True), text
    code, _ = await failure(both.admin.GetKey(pb.GetKeyRequest(key=key("k"))))
    assert code is grpc.StatusCode.NOT_FOUND


async def test_a_key_is_registered_once_and_changed_by_version(both: Both) -> None:
    """Who changes a version that is no longer there is told so."""
    added = await both.admin.AddKey(pb.AddKeyRequest(key=key("k"), record=PRO))
    code, _ = await failure(both.admin.AddKey(pb.AddKeyRequest(key=key("k"), record=PRO)))
    assert code is grpc.StatusCode.ALREADY_EXISTS
    changed = pb.KeyRecord(tier="free", version=added.record.version)
    await both.admin.SetKey(pb.SetKeyRequest(key=key("k"), record=changed))
    code, _ = await failure(both.admin.SetKey(pb.SetKeyRequest(key=key("k"), record=changed)))
    assert code is grpc.StatusCode.ABORTED
    code, _ = await failure(both.admin.SetKey(pb.SetKeyRequest(key=key("other"), record=PRO)))
    assert code is grpc.StatusCode.NOT_FOUND


async def test_the_policy_files_keys_are_read_only(both: Both) -> None:
    """They are told and listed like others, and changed in their file alone."""
    told = (await both.admin.GetKey(pb.GetKeyRequest(key=key("filed")))).record
    assert (told.from_policy, told.limits[0].rate) == (True, "8/hour")
    code, text = await failure(both.admin.RevokeKey(pb.RevokeKeyRequest(key=key("filed"))))
    assert (code, "policy file" in text) == (grpc.StatusCode.FAILED_PRECONDITION, True)
    code, _ = await failure(both.admin.AddKey(pb.AddKeyRequest(key=key("filed"), record=PRO)))
    assert code is grpc.StatusCode.ALREADY_EXISTS


async def test_keys_are_listed_in_pages(both: Both) -> None:
    """Each once, those of the file among them; by tier where that is wanted."""
    records = [pb.KeyRecord(tier="pro" if n % 2 else "free") for n in range(25)]
    keys = [pb.AddKeyRequest(key=key(f"k{n}"), record=r) for n, r in enumerate(records)]
    written = await both.admin.ImportKeys(pb.ImportKeysRequest(keys=keys))
    assert written.written == 25
    for tier, count in (("", 26), ("pro", 13)):
        seen, token = [], ""
        while True:
            request = pb.ListKeysRequest(page_size=4, page_token=token, tier=tier)
            page = await both.admin.ListKeys(request)
            assert len(page.records) <= 4
            seen += [record.subject for record in page.records]
            token = page.next_page_token
            if not token:
                break
        assert seen == sorted(set(seen))
        assert len(seen) == count


async def test_an_import_is_refused_in_whole_and_says_which_key(both: Both) -> None:
    """By its place in the request; nothing of it is written."""
    many = [pb.AddKeyRequest(key=key(f"k{n}"), record=PRO) for n in range(3)]
    for at, record, name in ((2, pb.KeyRecord(tier="prp"), "k"), (1, PRO, "filed")):
        many.insert(at, pb.AddKeyRequest(key=key(name), record=record))
        _, text = await failure(both.admin.ImportKeys(pb.ImportKeysRequest(keys=many)))
        assert text.startswith(f"keys[{at}]"), text
    code, _ = await failure(both.admin.GetKey(pb.GetKeyRequest(key=key("k0"))))
    assert code is grpc.StatusCode.NOT_FOUND


async def test_usage_charges_nothing_and_reset_forgets(both: Both) -> None:
    """What was used, of which limit, and what is left; then everything again."""
    await both.admin.AddKey(pb.AddKeyRequest(key=key("k"), record=PRO))
    assert await passed(both, "k", 4) == 4
    for _ in range(3):
        usage = await both.admin.GetUsage(pb.GetUsageRequest(key=key("k")))
        hour = {each.limit: each for each in usage.limits}["requests/hour"]
        assert (hour.used, hour.amount, hour.remaining, hour.window) == (4, 6, 2, "hour")
    assert usage.tier == "pro"
    assert {each.meter for each in usage.limits} == {"requests", "tokens", "concurrent"}
    await both.admin.Reset(pb.ResetRequest(key=key("k"), meter="tokens"))
    assert await passed(both, "k", 3) == 2
    await both.admin.Reset(pb.ResetRequest(key=key("k")))
    assert await passed(both, "k") == 6


async def test_what_a_key_holds_is_told_and_never_reset(both: Both) -> None:
    """By a mark and an end, not by the id that would give it back."""
    await both.admin.AddKey(pb.AddKeyRequest(key=key("k"), record=PRO))
    answer = await both.caller.ask(one("api_key=k", "meter=concurrent"))
    lease = str(answer.dynamic_metadata["lease"])
    await both.admin.Reset(pb.ResetRequest(key=key("k")))
    told = await both.admin.ListLeases(pb.ListLeasesRequest(key=key("k")))
    (limit,) = told.limits
    assert (limit.domain, limit.limit, limit.amount, limit.held) == ("test", "concurrent", 2, 1)
    assert limit.leases[0].ends.ToMicroseconds() == NOON + 15 * MINUTE
    assert len(lease) > 16
    assert lease not in str(told)
    code, text = await failure(both.admin.Reset(pb.ResetRequest(key=key("k"), meter="tokns")))
    assert (code, "`tokens`" in text) == (grpc.StatusCode.INVALID_ARGUMENT, True)


async def test_usage_tells_where_the_pace_ends(both: Both) -> None:
    """At 12:00:30.5, of a minute, of a sliding one and of a bucket; of nothing else."""
    own = pb.KeyRecord(tier="enterprise")
    own.limits.add(meter="requests", rate="10/minute")
    own.limits.add(meter="requests", rate="100/minute", algorithm="sliding_window", name="even")
    bucket = pb.OwnLimit(rate="6/minute", algorithm="token_bucket", burst=20, name="burst")
    own.limits.add(meter="requests").MergeFrom(bucket)
    await both.admin.AddKey(pb.AddKeyRequest(key=key("k"), record=own))
    assert await passed(both, "k", 8) == 8
    usage = await both.admin.GetUsage(pb.GetUsageRequest(key=key("k")))
    minute, sliding, burst = usage.limits
    assert [each.forecast.projected for each in usage.limits] == [15, 15, 15]
    noon = NOON - 30_500_000
    assert minute.forecast.reached.ToMicroseconds() == noon + 38_125_000
    assert (sliding.forecast.exceeds, sliding.forecast.HasField("reached")) == (False, False)
    full = NOON + -(-12 * 60_000_000 * 30_500_000 // (8 * 60_000_000 - 6 * 30_500_000))
    assert burst.forecast.reached.ToMicroseconds() == full
    assert (minute.forecast.exceeds, burst.forecast.exceeds) == (True, True)
    await both.admin.AddKey(pb.AddKeyRequest(key=key("new"), record=PRO))
    usage = await both.admin.GetUsage(pb.GetUsageRequest(key=key("new")))
    assert not any(each.HasField("forecast") for each in usage.limits)


async def test_every_change_is_in_the_audit_log(
    both: Both, caplog: pytest.LogCaptureFixture
) -> None:
    """With who, what, before and after; no key, and no value that begins a line of its own."""
    caplog.set_level(logging.INFO, logger="ratelimitd.audit")
    forged = pb.KeyRecord(tier="pro", note="x\r\nlevel=info event=forged \u2028")
    await both.admin.AddKey(pb.AddKeyRequest(key=key("sk-secret"), record=forged))
    await both.admin.RevokeKey(pb.RevokeKeyRequest(key=key("sk-secret")))
    lines = [each.__dict__ for each in caplog.records if each.name == "ratelimitd.audit"]
    assert [line["what"] for line in lines] == ["add", "revoke"]
    assert all(line["who"].startswith("local at 127.0.0.1") for line in lines)
    assert (lines[0]["before"], lines[1]["before"]) == ("null", lines[0]["after"])
    assert '"is_revoked": true' in lines[1]["after"]
    for line in lines:
        text = f"{line['who']} {line['subject']} {line['before']} {line['after']}"
        assert "sk-secret" not in text
        assert text.isascii()
        assert text.isprintable()


async def test_with_tokens_nobody_comes_in_without_one(tmp_path: Path) -> None:
    """Neither to administration nor to the metrics; any of the tokens will do."""
    tokens = (b"the-first-of-the-tokens", b"the-second-of-the-tokens")
    async with started(tmp_path, admin_tokens=tokens) as both:
        request = pb.ListKeysRequest()
        for shown in ("", "Bearer wrong", "Bearer", tokens[0].decode()):
            metadata = (("authorization", shown),) if shown else ()
            code, _ = await failure(both.admin.ListKeys(request, metadata=metadata))
            assert code is grpc.StatusCode.UNAUTHENTICATED
        for token in tokens:
            shown = f"Bearer {token.decode()}"
            page = await both.admin.ListKeys(request, metadata=(("authorization", shown),))
            assert page.records


def test_beyond_loopback_a_token_or_a_certificate_is_demanded(tmp_path: Path) -> None:
    """The settings refuse what everybody could reach; TLS alone lets everybody in."""
    policy, anywhere = tmp_path / "policy.yaml", Address("0.0.0.0", 9090)
    with pytest.raises(SettingsError, match="--admin-token-file"):
        Settings(policy=policy, admin=anywhere)
    with pytest.raises(SettingsError, match="--tls-client-ca"):
        Settings(policy=policy, admin=anywhere, tls=Tls(policy, policy))
    Settings(policy=policy, admin=anywhere, admin_tokens=(b"sixteen bytes ok",))
    Settings(policy=policy, admin=anywhere, tls=Tls(policy, policy, policy))


def test_on_loopback_administration_stays_plaintext(tmp_path: Path) -> None:
    """TLS is for who comes from elsewhere: a scraper beside the limiter needs no certificate."""
    assert Settings(policy=tmp_path, tls=Tls(tmp_path, tmp_path, tmp_path)).admin_tls is None
