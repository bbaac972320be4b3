"""Whatever bytes a customer puts into a request, a key that is over its limit stays denied.

Envoy passes a request on any error of the limiter's, and it sends header values as they came: not
UTF-8, and as long as its own bounds allow. So each of these must end in a denial, by Envoy's count.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e.support.deployment import deploy, patient_config, rate_limit_filter
from tests.e2e.support.limiter import AS_SHIPPED
from tests.e2e.support.promised import HOUR, bearer
from tests.e2e.support.waiting import room_in_window

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.support.deployment import Config, Deployment
    from tests.e2e.support.raw_http import Headers

SEED: Final = 20_260_101
VALUES: Final = 500
LONGEST: Final = 60 << 10
HEADER_BYTES: Final = bytes([9, *range(0x20, 0x7F), *range(0x80, 0x100)])
KEY_BYTES: Final = bytes({*range(0x21, 0x7F)} - set(b","))
"""Envoy itself answers 400 to any other byte in a key (`test_envoy_descriptors`)."""
PATH_BYTES: Final = bytes({*range(0x21, 0x7F)} - set(b"#%"))
"""Envoy itself answers 400 to any other byte in a path; escaped, most pass: see `some_path`."""
ESCAPED: Final = bytes({*range(1, 0x100)} - set(b"/\\"))
KEY: Final = "over-its-limit"
POLICY: Final = """
domain: agent-api
subject: {entry: api_key, scheme: bearer, default_tier: free}
meters: {requests: prepaid, address: prepaid}
tiers:
  free:
    requests: [1/hour]
    limits:
      - {meter: requests, rate: 1_000_000/hour, per: [subject, extra], name: each-extra}
      - {meter: requests, rate: 1_000_000/hour, per: [extra], when: {path: "*"}, name: extras}
      - {meter: requests, rate: 1_000_000/hour, when: {extra: "*a*", path: "/v1/*"}, name: globs}
      - {meter: address, rate: 1_000/hour, per: [remote_address]}
keys:
  - {key: somebody, tier: free, org: acme} # so `org` from outside is ignored, whatever it holds
"""
WITHOUT_TWIN: Final = f"""
from ratelimitd._gen.envoy.service.ratelimit.v3.rls_pb2 import RateLimitRequest
from ratelimitd.rpc import questions
questions.parse = RateLimitRequest.FromString
{AS_SHIPPED}
"""
"""The limiter without its twin message: it reads requests with protobuf's own parser alone."""


def inquisitive_config() -> Config:
    """The shipped configuration, which also sends a header's value, the path and a parameter's."""
    config = patient_config()
    about_key, *_ = rate_limit_filter(config)["rate_limits"]
    about_key["actions"] += [
        {"request_headers": {"header_name": "x-extra", "descriptor_key": "extra"}},
        {"request_headers": {"header_name": ":path", "descriptor_key": "path"}},
        {"request_headers": {"header_name": "x-org", "descriptor_key": "org"}},
    ]
    return config


def some_bytes(chance: random.Random, legal: bytes, longest: int) -> bytes:
    """From 1 to `longest` legal bytes, short ones as often as long ones."""
    length = int(longest ** chance.random())
    return bytes(chance.choices(legal, k=length))


def some_path(chance: random.Random) -> str:
    """A path of legal bytes, and of any others escaped, but for those that Envoy refuses."""
    parts = [
        some_bytes(chance, PATH_BYTES, 64).decode(),
        *(f"%{byte:02x}" for byte in some_bytes(chance, ESCAPED, 64)),
    ]
    return "/" + "".join(chance.choices(parts, k=int(2_000 ** chance.random())))


def any_request(chance: random.Random) -> tuple[str, Headers]:
    """A path and headers of random bytes, under the one key; all of them fit Envoy's 96 KiB."""
    extra = some_bytes(chance, HEADER_BYTES, LONGEST)
    org = some_bytes(chance, HEADER_BYTES, 16 << 10)
    return some_path(chance), [*bearer(KEY), ("x-extra", extra), ("x-org", org)]


def any_key(chance: random.Random) -> tuple[str, Headers]:
    """A key of random bytes in either header, beside headers of any bytes."""
    key = some_bytes(chance, KEY_BYTES, LONGEST)
    return "/v1/agents/a1/invoke", [
        chance.choice(
            [("x-api-key", key), ("authorization", key), ("authorization", b"Bearer " + key)]
        ),
        ("x-extra", some_bytes(chance, HEADER_BYTES, 16 << 10)),
        ("x-org", b""),
    ]


async def outcomes_of(
    deployment: Deployment, sent: Callable[[random.Random], tuple[str, Headers]], count: int
) -> tuple[set[int], dict[str, int]]:
    """Send so many requests, and return the statuses seen and what Envoy counted of the calls."""
    chance = random.Random(SEED)
    statuses = set()
    for _ in range(count):
        target, headers = sent(chance)
        statuses.add((await deployment.edge.request("POST", target, headers)).status)
    return statuses, await deployment.edge.outcomes()


@pytest.mark.parametrize("transport", ["h2corn", "grpcio"])
async def test_no_bytes_let_a_request_pass_that_is_over_its_limit(transport: str) -> None:
    """500 requests of random bytes in every entry but the key: all denied, no call failed."""
    await room_in_window(HOUR, 30)
    async with deploy(POLICY, transport=transport, config=inquisitive_config()) as deployment:
        await deployment.limiter.charge(1, api_key=KEY)
        statuses, outcomes = await outcomes_of(deployment, any_request, VALUES)
        assert statuses == {429}
        assert outcomes == {"over_limit": VALUES}


@pytest.mark.parametrize("transport", ["h2corn", "grpcio"])
async def test_no_key_lets_an_address_pass_that_is_over_its_limit(transport: str) -> None:
    """500 keys of random bytes from one address: all denied, no call failed."""
    await room_in_window(HOUR, 30)
    async with deploy(POLICY, transport=transport, config=inquisitive_config()) as deployment:
        await deployment.limiter.charge(1_000, meter="address", remote_address="127.0.0.1")
        statuses, outcomes = await outcomes_of(deployment, any_key, VALUES)
        assert statuses == {429}
        assert outcomes == {"over_limit": VALUES}


@pytest.mark.parametrize("transport", ["h2corn", "grpcio"])
async def test_with_protobufs_own_parser_they_would_pass(transport: str) -> None:
    """The twin: the same requests, read as UTF-8 only, fail as calls and so pass unlimited."""
    await room_in_window(HOUR, 30)
    async with deploy(
        POLICY, transport=transport, config=inquisitive_config(), program=WITHOUT_TWIN
    ) as deployment:
        await deployment.limiter.charge(1, api_key=KEY)
        statuses, outcomes = await outcomes_of(deployment, any_request, 20)
        assert statuses != {429}
        assert outcomes["failure_mode_allowed"] == outcomes["error"] > 0


def test_the_requests_are_as_long_and_as_odd_as_they_should_be() -> None:
    """Values of nearly 60 KiB are among them, and nearly none is UTF-8."""
    chance = random.Random(SEED)
    values = [any_request(chance)[1][1][1] for _ in range(VALUES)]
    assert max(map(len, values)) > LONGEST * 0.95
    assert sum(is_utf8(value) for value in values) < VALUES / 2


def is_utf8(value: bytes) -> bool:
    """Say whether protobuf would take it as a string."""
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
