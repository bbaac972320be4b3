"""What a real Envoy makes of our server, on each transport: the outcomes of its own filter's tests.

By Envoy's counters. Those that do not depend on the server are in tests/e2e/test_envoy_failures.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.e2e.support.deployment import deploy, patient_config, rate_limit_filter
from tests.e2e.support.limiter import AS_SHIPPED
from tests.e2e.support.promised import bearer, ours
from tests.robustness import outcomes
from tests.robustness.outcomes import TRANSPORTS
from tests.robustness.support import planted

if TYPE_CHECKING:
    from tests.e2e.support.deployment import Config
    from tests.e2e.support.edge import Edge

POLICY = """
domain: agent-api
subject: {entry: api_key, scheme: bearer, default_tier: free}
meters: {requests: prepaid, address: prepaid}
tiers: {free: {requests: [1/year]}}
headers: {families: [x-ratelimit]}
"""
SCENES: dict[str, tuple[tuple[str, str], ...]] = {
    "": (("ok with headers", "a"), ("over limit with headers", "a"), ("over limit, then ok", "b")),
    "decisions that fail": (("error", "a"),),
    "decisions that never come": (("timeout", "a"),),
    "decisions that end the process": (("immediate disconnect", "a"), ("failed connect", "a")),
}
"""What is planted, and the requests that are made then: row and API key."""
STRICT = ("decisions that fail",)


def config(plant: str, *, strict: bool) -> Config:
    """Return the shipped configuration, patient but where nothing will come."""
    made = patient_config()
    ratelimit = rate_limit_filter(made)
    if plant == "decisions that never come":
        ratelimit["timeout"] = "0.1s"
    ratelimit["failure_mode_deny"] = strict
    return made


async def _told(edge: Edge, key: str) -> str:
    """Make a request; return what came of it."""
    before = await edge.outcomes()
    answer = await edge.request(headers=bearer(key))
    after = await edge.outcomes()
    names = {"failure_mode_allowed": "passed"}
    counted = [
        f"{names.get(name, name)} {after[name] - before.get(name, 0)}"
        for name in ("ok", "over_limit", "error", "failure_mode_allowed")
        if after.get(name, 0) != before.get(name, 0)
    ]
    return f"{answer.status}{', headers' if ours(answer) else ''}; {', '.join(counted)}"


async def _scene(transport: str, plant: str, *, strict: bool) -> dict[str, str]:
    program = planted.program(plant) if plant else AS_SHIPPED
    suffix = ", failure_mode_deny" if strict else ""
    async with deploy(
        POLICY, transport=transport, program=program, config=config(plant, strict=strict)
    ) as deployment:
        return {row + suffix: await _told(deployment.edge, key) for row, key in SCENES[plant]}


@pytest.mark.parametrize(
    ("plant", "strict"), [*((each, False) for each in SCENES), *((each, True) for each in STRICT)]
)
async def test_envoy_counts_what_the_table_says(plant: str, strict: bool) -> None:
    """On every transport at once."""
    found = await asyncio.gather(*(_scene(each, plant, strict=strict) for each in TRANSPORTS))
    for transport, told in zip(TRANSPORTS, found, strict=True):
        assert told == {row: outcomes.ENVOY[row] for row in told}, transport


def test_every_outcome_has_a_scene() -> None:
    """No row of the table that nobody plays."""
    played = {row for scene in SCENES.values() for row, _ in scene}
    played |= {f"{row}, failure_mode_deny" for plant in STRICT for row, _ in SCENES[plant]}
    assert played == set(outcomes.ENVOY)
