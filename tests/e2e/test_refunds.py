"""Hits, refunds, limits of a descriptor's own, weeks: what Envoy asks, and what the limiter does.

The shipped configuration asks for single requests only; these are the others that Envoy can send.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.support.deployment import Deployment, deploy, patient_config, rate_limit_filter
from tests.e2e.support.promised import HOUR, bearer, shown
from tests.e2e.support.waiting import room_in_window, wait_until

if TYPE_CHECKING:
    from tests.e2e.support.deployment import Config

POLICY = """
domain: agent-api
subject: {entry: api_key, scheme: bearer, default_tier: free}
tiers: {free: {requests: [100/hour]}}
overrides: true
"""
KEY = {"request_headers": {"header_name": "authorization", "descriptor_key": "api_key"}}
REFUND = {"apply_on_stream_done": True, "hits_addend": {"number": 1, "is_negative_hits": True}}
DONE_WITHOUT_SIGN = {"apply_on_stream_done": True, "hits_addend": {"number": 1}}


def config_with(*policies: dict[str, Any]) -> Config:
    """The shipped configuration, where each request is described by these, with its key."""
    config = patient_config()
    rate_limit_filter(config)["rate_limits"] = [{"actions": [KEY], **each} for each in policies]
    return config


async def settles_at(deployment: Deployment, key: str, remaining: int) -> None:
    """Wait until a peek says so: Envoy makes its last call after the client has its answer."""

    async def settled() -> bool:
        return await deployment.limiter.remaining(f"api_key={key}") == remaining

    await wait_until(settled, description=f"{remaining} are left")


@pytest.mark.parametrize("transport", ["h2corn", "grpcio"])
async def test_negative_hits_at_the_end_of_a_request_give_its_charge_back(transport: str) -> None:
    """The answer tells of the charge; the peek after the end no longer has it."""
    config = config_with({}, REFUND)
    async with deploy(POLICY, transport=transport, config=config) as deployment:
        await room_in_window(HOUR, 10)
        await deployment.limiter.charge(5, api_key="k")
        answer = await deployment.edge.request(headers=bearer("k"))
        assert shown(answer).remaining == 94
        await settles_at(deployment, "k", 95)
        assert await deployment.edge.outcomes() == {"ok": 1}


async def test_hits_at_the_end_without_the_sign_are_charged_instead() -> None:
    """The twin: were the field not read, the same call would take one more."""
    config = config_with({}, DONE_WITHOUT_SIGN)
    async with deploy(POLICY, config=config) as deployment:
        await room_in_window(HOUR, 10)
        await deployment.limiter.charge(5, api_key="k")
        await deployment.edge.request(headers=bearer("k"))
        await settles_at(deployment, "k", 93)


async def test_a_refund_is_sent_after_a_denial_too() -> None:
    """A trap of docs/envoy.md: Envoy reports the end of what it denied, so one comes back."""
    config = config_with({}, REFUND)
    async with deploy(POLICY, config=config) as deployment:
        await room_in_window(HOUR, 10)
        await deployment.limiter.charge(100, api_key="k")
        assert (await deployment.edge.request(headers=bearer("k"))).status == 429
        await settles_at(deployment, "k", 1)


@pytest.mark.parametrize(
    ("hits", "left"),
    [
        pytest.param({"number": 7}, 93, id="a number"),
        pytest.param({"format": "%REQ(x-cost)%"}, 88, id="a header"),
        pytest.param({"number": 0}, 100, id="none, a peek"),
    ],
)
async def test_a_descriptors_hits_are_what_is_charged(hits: dict[str, Any], left: int) -> None:
    """Hits of the descriptor's own count; none of its own are one."""
    config = config_with({"hits_addend": hits})
    async with deploy(POLICY, config=config) as deployment:
        await room_in_window(HOUR, 10)
        headers = [*bearer("k"), ("x-cost", b"12")]
        assert shown(await deployment.edge.request(headers=headers)).remaining == left
        assert await deployment.limiter.remaining("api_key=k") == left


async def test_a_limit_of_the_descriptors_own_is_obeyed_where_the_policy_allows_it() -> None:
    """Three a day in place of the tier's hundred an hour; without `overrides` it is ignored."""
    config = config_with({"limit": {"rate_limit": {"requests_per_unit": 3, "unit": "DAY"}}})
    async with deploy(POLICY, config=config) as deployment:
        await room_in_window(HOUR, 10)
        answers = [await deployment.edge.request(headers=bearer("k")) for _ in range(4)]
        assert [answer.status for answer in answers] == [200] * 3 + [429]
        assert [shown(answer).limit for answer in answers] == [3] * 4
    async with deploy(POLICY.replace("true", "false"), config=config) as deployment:
        assert shown(await deployment.edge.request(headers=bearer("k"))).limit == 100


async def test_a_week_is_named_to_envoy_as_one() -> None:
    """Envoy, told to make headers of its own, shows the limiter's weekly limit in seconds."""
    policy = POLICY.replace("100/hour", "100/week")
    config = config_with({})
    rate_limit_filter(config)["enable_x_ratelimit_headers"] = "DRAFT_VERSION_03"
    async with deploy(policy, config=config) as deployment:
        answer = await deployment.edge.request(headers=bearer("k"))
        assert '100, 100;w=604800;name="requests/week"' in answer.all("x-ratelimit-limit")
        assert await deployment.edge.outcomes() == {"ok": 1}
