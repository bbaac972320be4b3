"""The newer fields of the protocol, as a real Envoy sends and reads them.

The descriptors that Envoy publishes for Python do not have them all (tests/contract), so here Envoy
itself is the proof that our messages give them the right numbers and meaning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.unknown_fields import UnknownFieldSet

from ratelimitd.devkit.envoy import EnvoyError, validate
from tests.e2e.support.deployment import add_filter_before, patient_config, rate_limit_filter
from tests.e2e.support.edge import run_edge
from tests.e2e.support.fake_rls import Answer, FakeRls, allowed
from tests.e2e.support.waiting import wait_until

if TYPE_CHECKING:
    from ratelimitd._gen.ratelimitd.internal.v1.raw_request_pb2 import RawRateLimitDescriptor
    from tests.e2e.support.deployment import Config

ACTIONS: list[dict[str, Any]] = [{"remote_address": {}}]
VARINT, BYTES = 0, 2
HOURLY = {"requests_per_unit": 42, "unit": "HOUR"}
NAMESPACE = "limits"


def config_with(*policies: dict[str, Any]) -> Config:
    """The shipped configuration with these descriptors instead of its own."""
    config = patient_config()
    rate_limit_filter(config)["rate_limits"] = [{"actions": ACTIONS, **each} for each in policies]
    return config


def fields(descriptor: RawRateLimitDescriptor) -> dict[int, tuple[int, object]]:
    """What is on the wire, read without any knowledge of the message: number, wire type, value."""
    wire = UnknownFieldSet(Empty.FromString(descriptor.SerializeToString()))
    found = (wire[index] for index in range(len(wire)))
    return {each.field_number: (each.wire_type, each.data) for each in found}


def from_metadata(name: str) -> dict[str, Any]:
    """A limit of the descriptor's own that Envoy takes out of the request's metadata."""
    return {
        "limit": {"dynamic_metadata": {"metadata_key": {"key": NAMESPACE, "path": [{"key": name}]}}}
    }


async def test_negative_hits_are_field_four_beside_hits_in_field_three(rls: FakeRls) -> None:
    """At the end of a request, in a call of its own; hits of any policy travel in a wrapper."""
    config = config_with(
        {"hits_addend": {"number": 3}},
        {"hits_addend": {"number": 0}},
        {"apply_on_stream_done": True, "hits_addend": {"number": 1, "is_negative_hits": True}},
        {"apply_on_stream_done": True, "hits_addend": {"format": "%RESPONSE_CODE%"}},
    )
    async with run_edge(rls.address, config=config) as edge:
        assert (await edge.request()).status == 200
        await wait_until(lambda: len(rls.requests) == 2, description="the call at the end")
    asked, done = rls.requests
    assert [fields(each).get(3) for each in asked.descriptors] == [
        (BYTES, b"\x08\x03"),
        (BYTES, b""),
    ]
    assert [fields(each).get(4) for each in asked.descriptors] == [None, None]
    assert [fields(each).get(4) for each in done.descriptors] == [(VARINT, 1), None]
    assert [each.hits_addend.value for each in done.descriptors] == [1, 200]
    assert [each.is_negative_hits for each in done.descriptors] == [True, False]


async def test_a_limit_of_the_descriptors_own_is_sent_without_a_multiplier(rls: FakeRls) -> None:
    """From configuration and from metadata alike; Envoy 1.40 reads no `unit_multiplier` there.

    A unit that it does not know (WEEK) drops the limit and keeps the descriptor.
    """
    config = config_with(
        {"limit": {"rate_limit": {"requests_per_unit": 3, "unit": "DAY"}}},
        from_metadata("hourly"),
        from_metadata("weekly"),
    )
    values = {"hourly": {**HOURLY, "unit_multiplier": 2}, "weekly": {**HOURLY, "unit": "WEEK"}}
    kind = "type.googleapis.com/envoy.extensions.filters.http.set_metadata.v3.Config"
    metadata = [{"metadata_namespace": NAMESPACE, "value": values}]
    set_metadata = {"@type": kind, "metadata": metadata}
    add_filter_before(
        config, {"name": "envoy.filters.http.set_metadata", "typed_config": set_metadata}
    )
    async with run_edge(rls.address, config=config) as edge:
        assert (await edge.request()).status == 200
    (request,) = rls.requests
    day, hour = b"\x08\x03\x10\x04", b"\x08\x2a\x10\x03"
    assert [fields(each).get(2) for each in request.descriptors] == [
        (BYTES, day),
        (BYTES, hour),
        None,
    ]


@pytest.mark.parametrize("unknown", [{"unit_multiplier": 2}, {"unit": "WEEK"}])
async def test_envoy_takes_no_multiplier_and_no_week_from_its_configuration(
    unknown: dict[str, Any],
) -> None:
    """So the limiter can be sent neither by a configuration of Envoy 1.40; other callers may."""
    await validate(config_with({"limit": {"rate_limit": HOURLY}}))
    (name,) = unknown
    with pytest.raises(EnvoyError, match=name if name != "unit" else "WEEK"):
        await validate(config_with({"limit": {"rate_limit": HOURLY | unknown}}))


async def test_envoy_reads_weeks_and_multiplied_units_in_answers(rls: FakeRls) -> None:
    """It shows them in seconds, in the headers that it makes itself when told to."""

    async def answer(_: object) -> Answer:
        told = allowed()
        rate = Answer.RateLimit
        for unit, times in ((rate.WEEK, None), (rate.HOUR, 2), (rate.UNKNOWN, None)):
            status = told.statuses.add(code=Answer.OK, limit_remaining=5)
            status.current_limit.requests_per_unit, status.current_limit.unit = 7, unit
            if times:
                status.current_limit.unit_multiplier.value = times
        return told

    rls.answer = answer
    config = config_with({}, {}, {})
    rate_limit_filter(config)["enable_x_ratelimit_headers"] = "DRAFT_VERSION_03"
    async with run_edge(rls.address, config=config) as edge:
        shown = (await edge.request()).all("x-ratelimit-limit")
        assert await edge.outcomes() == {"ok": 1}
    assert "7, 7;w=604800, 7;w=7200" in shown
