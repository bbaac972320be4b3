"""Requests without a key, where the policy refuses or frees them, behind the shipped Envoy."""

from __future__ import annotations

import json

from tests.e2e.support.deployment import deploy
from tests.e2e.support.limiter import SHIPPED_POLICY
from tests.e2e.support.promised import bearer, ours, shown


def policy(missing: str, default_tier: str = "free") -> str:
    """The shipped policy with another fate for requests without a key."""
    text = SHIPPED_POLICY.read_text("utf-8")
    for old, new in (
        ("  missing: anonymous", f"  missing: {missing}"),
        ("  default_tier: free", f"  default_tier: {default_tier}"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    return text


async def test_missing_deny_serves_keys_and_refuses_requests_without_one() -> None:
    """The address's descriptor names no key, and is not what is refused."""
    async with deploy(policy("deny", "deny")) as deployment:
        good = await deployment.edge.request(headers=bearer("demo-pro"))
        assert good.status == 200
        assert shown(good).limit == 1_000
        strange = await deployment.edge.request(headers=bearer("stranger"))
        for headers in ([], [("x-api-key", b"")], [("authorization", b"Bearer")]):
            refused = await deployment.edge.request(headers=headers)
            assert refused.status == 429
            assert json.loads(refused.body)["error"]["message"] == "API key is missing"
            assert refused.all("content-type") == ["application/json"]
            assert ours(refused) == []
        assert strange.status == 429
        assert json.loads(strange.body)["error"]["message"] == "API key is not registered"


async def test_missing_allow_limits_keys_and_frees_requests_without_one() -> None:
    """No tier is theirs, so nothing is counted, and the answer carries no header of ours."""
    async with deploy(policy("allow")) as deployment:
        keyed = await deployment.edge.request(headers=bearer("demo-pro"))
        free = await deployment.edge.request()
    assert (keyed.status, shown(keyed).limit) == (200, 1_000)
    assert (free.status, ours(free)) == (200, [])
