"""Every input ends in a decision: Envoy lets a request pass on any error; customers cause none."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest

from ratelimitd._gen.envoy.type.v3.ratelimit_unit_pb2 import RateLimitUnit
from ratelimitd._gen.ratelimitd.internal.v1.raw_request_pb2 import RawRateLimitRequest
from tests.rpc.support.calls import OK, OVER_LIMIT, Client, describe, failure, header, one, question
from tests.rpc.support.serving import POLICY, running

if TYPE_CHECKING:
    from pathlib import Path

    from ratelimitd._gen.envoy.service.ratelimit.v3.rls_pb2 import RateLimitRequest
    from ratelimitd.app import Service

FULL = 5


def raw(*entries: tuple[bytes, bytes], domain: bytes = b"test") -> bytes:
    """Return the wire form of a call with one descriptor whose entries are any bytes."""
    request = RawRateLimitRequest(domain=domain)
    descriptor = request.descriptors.add()
    for key, value in entries:
        descriptor.entries.add(key=key, value=value)
    return request.SerializeToString()


VALUES = {
    "a byte that is no UTF-8": b"\xff",
    "a cut sequence": b"key-\xe2\x82",
    "a surrogate": b"\xed\xa0\x80",
    "every byte": bytes(range(256)),
    "a zero": b"\0",
    "line breaks": b"a\r\nX-Injected: 1",
    "60 KiB": b"x" * 61_440,
    "60 KiB of no UTF-8": b"\xfe" * 61_440,
    "beyond the BMP": "🗝".encode(),
    "separators of our keys": b"|,=~#@*%",
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
async def test_a_key_of_any_bytes_is_limited(client: Client, value: bytes) -> None:
    """Whatever the key is made of, it has a counter of its own and is denied at its limit."""
    wire = raw((b"api_key", value))
    left = [(await client.send(wire)).statuses[0].limit_remaining for _ in range(FULL)]
    assert left == [4, 3, 2, 1, 0]
    assert (await client.send(wire)).overall_code == OVER_LIMIT
    assert (await client.send(raw((b"api_key", value + b"\xff")))).overall_code == OK


@pytest.mark.parametrize("name", VALUES.values(), ids=VALUES)
async def test_an_entry_of_any_name_is_ignored(client: Client, name: bytes) -> None:
    """Names that no rule knows change nothing, and no error comes of them."""
    wire = raw((name, b"x"), (b"api_key", b"a"), (b"route", name))
    assert (await client.send(wire)).statuses[0].limit_remaining == FULL - 1


async def test_twins_of_broken_and_sound_text_never_share_a_counter(client: Client) -> None:
    """The bytes decide who is limited: U+FFFD is not what a broken byte is replaced by."""
    for value in (b"\xff", "\ufffd".encode(), b"\xfe", "ÿ".encode(), b"\\xff", b"\xef\xbf\xbd\xff"):
        answer = await client.send(raw((b"api_key", value)))
        assert answer.statuses[0].limit_remaining == FULL - 1


async def test_an_empty_key_is_a_missing_one(client: Client) -> None:
    """An empty value is decided as the policy says for callers without a key (here: allowed)."""
    answer = await client.ask(one("api_key="))
    assert (answer.overall_code, answer.statuses[0].HasField("current_limit")) == (OK, False)


async def test_no_entries_at_all_are_a_descriptor_too(client: Client) -> None:
    """A descriptor without entries is decided: no limit applies to it."""
    answer = await client.ask(question(describe()))
    assert (answer.overall_code, len(answer.statuses)) == (OK, 1)


async def test_64_descriptors_of_64_entries_are_decided(client: Client) -> None:
    """The bounds themselves are inside."""
    wide = describe("api_key=large", *[f"e{index}=x" for index in range(63)])
    answer = await client.ask(question(*[wide] * 64))
    assert (answer.overall_code, len(answer.statuses)) == (OK, 64)


async def test_an_answer_to_every_byte_is_itself_valid(client: Client) -> None:
    """What callers send never comes back: not in a header, not in the body."""
    value = b"secret\r\n\xff"
    for _ in range(FULL + 1):
        answer = await client.send(raw((b"api_key", value), (b"meter", b"requests")))
    assert answer.overall_code == OVER_LIMIT
    assert b"secret" not in answer.SerializeToString()


async def test_an_unknown_domain_is_allowed_counted_and_logged_once(
    service: Service, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """A domain without a policy never blocks traffic, and one line tells the operator."""
    for _ in range(3):
        answer = await client.ask(one("api_key=a", domain="elsewhere"))
        assert answer.overall_code == OK
        assert not answer.response_headers_to_add
    assert service.telemetry.counts["events", "unknown_domain"] == 3
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert caplog.records[0].__dict__["detail"] == "elsewhere"


async def test_a_domain_of_any_bytes_is_allowed(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """A broken domain is an unknown one, and what is logged of it can be written anywhere."""
    answer = await client.send(raw((b"api_key", b"a"), domain=b"\xff\xfe\r\nlevel=error"))
    assert answer.overall_code == OK
    (record,) = caplog.records
    assert record.__dict__["detail"] == r"\udcff\udcfe\r\nlevel=error"


async def test_an_unknown_meter_is_allowed_counted_and_logged_once(
    service: Service, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """A meter that no policy has limits nothing; its name, which a caller chose, is not logged."""
    for index in range(3):
        answer = await client.ask(one("api_key=a", f"meter=invented-{index}"))
        assert (answer.overall_code, len(answer.statuses)) == (OK, 1)
    assert service.telemetry.counts["events", "unknown_meter"] == 3
    assert len(caplog.records) == 1
    assert caplog.records[0].__dict__["detail"] == "test", "the domain is the policy's own"
    assert "invented" not in str(caplog.records[0].__dict__)


GARBAGE = {
    "no field": b"\xff",
    "a cut length": b"\x0a\x7f",
    "a wrong wire type": b"\x0b",
    "field 0": b"\x00\x00",
    "an endless varint": b"\x18" + b"\xff" * 11,
    "a cut descriptor": b"\x0a\x04test\x12\x05\x0a",
    "text": b"GET / HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("wire", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_is_an_invalid_argument(client: Client, wire: bytes) -> None:
    """Bytes that are no request at all are refused, on every transport with the same words."""
    failed = await failure(client.send(wire))
    assert failed == (grpc.StatusCode.INVALID_ARGUMENT, "the bytes are no RateLimitRequest")


async def test_an_empty_message_has_an_empty_domain(client: Client) -> None:
    """No bytes are a valid message: one without a domain."""
    failed = await failure(client.send(b""))
    assert failed.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "domain" in failed.details


async def test_unknown_fields_are_passed_over(client: Client) -> None:
    """A newer Envoy may send more; what is known is decided."""
    wire = one("api_key=a").SerializeToString() + b"\xfa\x3e\x03abc"
    assert (await client.send(wire)).statuses[0].limit_remaining == FULL - 1
    assert (await client.send(wire)).statuses[0].limit_remaining == FULL - 2


OVERRIDES = {
    # (unit, unit_multiplier, requests_per_unit) to the limit that then counts
    "per hour": (RateLimitUnit.HOUR, None, 3, "requests/hour"),
    "per day": (RateLimitUnit.DAY, None, 3, "requests/day"),
    "per month": (RateLimitUnit.MONTH, 1, 3, "requests/month"),
    "per 7 days": (RateLimitUnit.DAY, 7, 3, "requests/7d"),
    "0 times an hour": (RateLimitUnit.HOUR, 0, 3, "requests/hour"),
    "a long multiple": (RateLimitUnit.DAY, 366, 3, "requests/366d"),
    "nothing": (RateLimitUnit.HOUR, None, 0, "requests/hour"),
    "the most": (RateLimitUnit.YEAR, None, 2**32 - 1, "requests/year"),
    # A window without a name of its own, or with one of a newer Envoy: the policy's limits hold.
    "unknown": (RateLimitUnit.UNKNOWN, None, 3, "requests/minute"),
    "per 2 months": (RateLimitUnit.MONTH, 2, 3, "requests/minute"),
    "longer than policies may": (RateLimitUnit.DAY, 367, 3, "requests/minute"),
    "a vast multiple": (RateLimitUnit.DAY, 2**32 - 1, 3, "requests/minute"),
    "of the future": (99, None, 3, "requests/minute"),
}


def overridden(unit: int, times: int | None, amount: int) -> RateLimitRequest:
    """Return a call whose descriptor brings a limit."""
    request = one("api_key=a")
    limit = request.descriptors[0].limit
    limit.unit = unit  # type: ignore[assignment]  # also numbers that this version does not know
    limit.requests_per_unit = amount
    if times is not None:
        limit.unit_multiplier.value = times
    return request


@pytest.mark.parametrize(("unit", "times", "amount", "name"), OVERRIDES.values(), ids=OVERRIDES)
async def test_a_limit_of_the_callers_own(
    transport: str, tmp_path: Path, unit: int, times: int | None, amount: int, name: str
) -> None:
    """Where the policy honours overrides, every unit and multiple is decided."""
    async with (
        running(transport, tmp_path, POLICY + "overrides: true\n") as service,
        grpc.aio.insecure_channel(service.addresses["grpc"][0]) as channel,
    ):
        answer = await Client(channel).ask(overridden(unit, times, amount))
    status = answer.statuses[0]
    assert status.current_limit.name == name
    assert answer.overall_code == (OK if amount else OVER_LIMIT)
    assert status.duration_until_reset.seconds <= 315_576_000_000  # the most a Duration may say
    assert header(answer, "X-RateLimit-Reset-After") is not None


@pytest.mark.parametrize(("unit", "times", "amount", "name"), OVERRIDES.values(), ids=OVERRIDES)
async def test_a_limit_of_the_callers_own_is_ignored_unless_allowed(
    client: Client, unit: int, times: int | None, amount: int, name: str
) -> None:
    """A caller cannot raise its own limit by default."""
    answer = await client.ask(overridden(unit, times, amount))
    assert answer.statuses[0].current_limit.name == "requests/minute"
