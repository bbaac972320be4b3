"""What customers are told comes once and from the limiter, whatever the API behind Envoy sends."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import pytest
from retryheader import QuotaPolicy, parse_ratelimit, parse_ratelimit_policy

from ratelimitd.devkit.stub_api import LIMIT_HEADERS
from tests.e2e.support.deployment import Deployment, deploy, patient_config
from tests.e2e.support.edge import manager_of
from tests.e2e.support.limiter import SHIPPED_POLICY
from tests.e2e.support.promised import HOUR, MINUTE, bearer, shown
from tests.e2e.support.waiting import room_in_window

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.e2e.support.deployment import Config
    from tests.e2e.support.raw_http import Response

LIMITS = [
    QuotaPolicy("requests/hour", 100, window=HOUR),
    QuotaPolicy("requests/minute", 10, window=MINUTE),
    QuotaPolicy("per-address", 3_000, window=MINUTE, unit="address"),
    QuotaPolicy("tokens/month", 100_000, unit="tokens"),
    QuotaPolicy("concurrent", 2, unit="concurrent-requests"),
]
TARGETS = [
    pytest.param(f"/v1/agents/a1/{route}?limit_headers=1", body, id=route)
    for route, body in (("invoke", b""), ("stream", b""), ("batch", b'{"inputs": ["x"]}'))
]
BOTH_FAMILIES = SHIPPED_POLICY.read_text("utf-8").replace(
    "families: [x-ratelimit]", "families: [x-ratelimit, ietf]"
)


def config_that_strips_nothing() -> Config:
    """The shipped configuration without the lines that remove our names from the API's answers."""
    config = copy.deepcopy(patient_config())
    del manager_of(config)["route_config"]["response_headers_to_remove"]
    return config


def doubled(answer: Response) -> list[str]:
    """The names of the limiter's headers that came more than once."""
    return [name for name in map(str.lower, LIMIT_HEADERS) if len(answer.all(name)) > 1]


@pytest.fixture(scope="module", params=["h2corn", "grpcio"])
async def deployment(request: pytest.FixtureRequest) -> AsyncIterator[Deployment]:
    """The shipped policy, with both families of headers."""
    async with deploy(BOTH_FAMILIES, transport=request.param) as running:
        yield running


@pytest.mark.parametrize(("target", "body"), TARGETS)
async def test_an_api_with_limits_of_its_own_doubles_no_header(
    deployment: Deployment, target: str, body: bytes
) -> None:
    """Plain answers and streams alike: each name once, with the limiter's value."""
    await room_in_window(MINUTE, 2)
    key = bearer(f"once-{target}")
    answer = await deployment.edge.request(target=target, headers=key, body=body)
    assert answer.status == 200
    assert doubled(answer) == []
    assert (shown(answer).limit, shown(answer).remaining) == (100, 99)
    (policy,), (state,) = answer.all("ratelimit-policy"), answer.all("ratelimit")
    assert parse_ratelimit_policy(policy) == LIMITS
    told = {limit.policy: limit.remaining for limit in parse_ratelimit(state)}
    assert (told["requests/hour"], told["requests/minute"]) == (99, 9)


async def test_a_denial_has_each_header_once_and_well_formed(deployment: Deployment) -> None:
    """The policies are those of an allowed call, and no `t` comes after Retry-After."""
    await room_in_window(MINUTE, 2)
    await deployment.limiter.charge(10, api_key="denied-once")
    answer = await deployment.edge.request(headers=bearer("denied-once"))
    assert answer.status == 429
    assert doubled(answer) == []
    assert shown(answer).remaining == 0
    assert parse_ratelimit_policy(*answer.all("ratelimit-policy")) == LIMITS
    (wait,) = map(int, answer.all("retry-after"))
    states = {state.policy: state for state in parse_ratelimit(*answer.all("ratelimit"))}
    assert states["requests/minute"].remaining == 0
    assert all(state.window is None or state.window <= wait for state in states.values())


@pytest.mark.parametrize(("target", "body"), TARGETS)
async def test_without_our_configuration_they_would_be_doubled(target: str, body: bytes) -> None:
    """The twin: Envoy appends, so what the API sends has to be removed first."""
    async with deploy(BOTH_FAMILIES, config=config_that_strips_nothing()) as deployment:
        answer = await deployment.edge.request(target=target, headers=bearer("k"), body=body)
    assert set(doubled(answer)) == {name.lower() for name in LIMIT_HEADERS} - {"retry-after"}
