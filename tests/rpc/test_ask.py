"""The caller's side of the RateLimitService, against the server's own messages."""

from __future__ import annotations

import pytest

from ratelimitd._gen.envoy.service.ratelimit.v3.rls_pb2 import RateLimitRequest, RateLimitResponse
from ratelimitd.errors import UnreachableError
from ratelimitd.rpc.ask import METHOD, Said, decode, encode


def test_a_question_is_one_descriptor() -> None:
    """Entries in their order; without hits the server decides what one is."""
    request = RateLimitRequest.FromString(encode("d", [("a", "1"), ("b", "")], None))
    (descriptor,) = request.descriptors
    assert request.domain == "d"
    assert [(entry.key, entry.value) for entry in descriptor.entries] == [("a", "1"), ("b", "")]
    assert not descriptor.HasField("hits_addend")


@pytest.mark.parametrize("hits", [0, 1, 2**53 - 1])
def test_hits_are_the_descriptors_own(hits: int) -> None:
    """Zero is a number here, and not the same as none: it peeks."""
    (descriptor,) = RateLimitRequest.FromString(encode("d", [("a", "1")], hits)).descriptors
    assert descriptor.HasField("hits_addend")
    assert descriptor.hits_addend.value == hits


def test_an_answer_is_read_whole() -> None:
    """Every part that a person or a script is shown."""
    response = RateLimitResponse(overall_code=RateLimitResponse.OVER_LIMIT, raw_body=b"{}")
    status = response.statuses.add(code=RateLimitResponse.OVER_LIMIT, limit_remaining=3)
    status.current_limit.name = "requests/hour"
    status.current_limit.requests_per_unit = 10
    status.current_limit.unit = RateLimitResponse.RateLimit.HOUR
    status.duration_until_reset.FromMilliseconds(1500)
    response.statuses.add(code=RateLimitResponse.OK)
    response.response_headers_to_add.add(key="Retry-After", value="2")
    response.dynamic_metadata["lease"] = "l1"
    answer = decode(response.SerializeToString())
    assert not answer.allowed
    assert answer.statuses == (
        Said(False, "requests/hour", 10, "hour", 3, 1.5),
        Said(True, "", 0, "", 0, 0.0),
    )
    assert (answer.headers, answer.body, answer.lease) == ((("Retry-After", "2"),), "{}", "l1")


def test_what_is_no_answer_is_told() -> None:
    """Something else may listen at the target."""
    with pytest.raises(UnreachableError, match="no rate limiter"):
        decode(b"\xff")


def test_the_path_is_envoys() -> None:
    """As any gRPC client spells it."""
    assert METHOD == "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"
