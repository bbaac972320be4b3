"""What a real Envoy makes of our server, on each transport: the outcomes of its own filter's tests.

By Envoy's counters. Those that do not depend on the server are in tests/e2e/test_envoy_failures.
"""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING

import pytest

from tests.e2e.support.deployment import deploy, patient_config, rate_limit_filter
from tests.e2e.support.limiter import AS_SHIPPED
from tests.e2e.support.promised import bearer
from tests.robustness import outcomes
from tests.robustness.outcomes import TRANSPORTS
from tests.robustness.support import planted

if TYPE_CHECKING:
    from tests.e2e.support.deployment import Config
    from tests.e2e.support.edge import Edge
    from tests.e2e.support.raw_http import Response

POLICY = """
domain: agent-api
subject: {entry: api_key, scheme: bearer, default_tier: free}
meters: {requests: prepaid, address: prepaid}
tiers: {free: {requests: [1/year]}}
headers: {families: [x-ratelimit]}
"""
WITHOUT = POLICY.replace("families: [x-ratelimit]", "families: []")


@dataclasses.dataclass(frozen=True, slots=True)
class Scene:
    """A limiter, an Envoy, and the requests that are made of them."""

    requests: tuple[tuple[str, str], ...]
    """Row and API key."""
    plant: str = ""
    policy: str = POLICY
    filter: Config = dataclasses.field(default_factory=dict)
    """What is otherwise in Envoy's filter than as shipped."""


DENY: Config = {"failure_mode_deny": True}
LATE: Config = {"timeout": "0.1s"}
OF_ENVOY: Config = {
    "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
    "disable_x_envoy_ratelimited_header": False,
}
SCENES: dict[str, Scene] = {
    "with headers": Scene(
        (("ok with headers", "a"), ("over limit with headers", "a"), ("over limit, then ok", "b"))
    ),
    "without": Scene(
        (("ok without headers", "a"), ("over limit without headers", "a")), policy=WITHOUT
    ),
    "with Envoy's own": Scene(
        (("ok, Envoy's headers", "a"), ("over limit, Envoy's headers", "a")),
        policy=WITHOUT,
        filter=OF_ENVOY,
    ),
    "failing": Scene((("error", "a"),), plant="decisions that fail"),
    "failing, deny": Scene(
        (("error, failure_mode_deny", "a"),), plant="decisions that fail", filter=DENY
    ),
    "late": Scene((("timeout", "a"),), plant="decisions that never come", filter=LATE),
    "late, deny": Scene(
        (("timeout, failure_mode_deny", "a"),),
        plant="decisions that never come",
        filter=LATE | DENY,
    ),
    "dying": Scene(
        (("immediate disconnect", "a"), ("failed connect", "a")),
        plant="decisions that end the process",
    ),
    "dying, deny": Scene(
        (
            ("immediate disconnect, failure_mode_deny", "a"),
            ("failed connect, failure_mode_deny", "a"),
        ),
        plant="decisions that end the process",
        filter=DENY,
    ),
}


def _headers(answer: Response) -> str:
    """Say whose headers an answer carries; Envoy's own tell of the window."""
    limit = " ".join(answer.all("x-ratelimit-limit"))
    found = ", headers" if limit.isdigit() else ", Envoy's headers" if ";w=" in limit else ""
    return found + (", x-envoy-ratelimited" if answer.all("x-envoy-ratelimited") else "")


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
    return f"{answer.status}{_headers(answer)}; {', '.join(counted)}"


async def _play(transport: str, scene: Scene) -> dict[str, str]:
    program = planted.program(scene.plant) if scene.plant else AS_SHIPPED
    config = patient_config()
    rate_limit_filter(config).update(scene.filter)
    async with deploy(
        scene.policy, transport=transport, program=program, config=config
    ) as deployment:
        return {row: await _told(deployment.edge, key) for row, key in scene.requests}


@pytest.mark.parametrize("scene", SCENES)
async def test_envoy_counts_what_the_table_says(scene: str) -> None:
    """On every transport at once."""
    found = await asyncio.gather(*(_play(each, SCENES[scene]) for each in TRANSPORTS))
    for transport, told in zip(TRANSPORTS, found, strict=True):
        assert told == {row: outcomes.ENVOY[row] for row in told}, transport


def test_every_outcome_has_a_scene() -> None:
    """No row of the table that nobody plays."""
    played = [row for scene in SCENES.values() for row, _ in scene.requests]
    assert sorted(played) == sorted(outcomes.ENVOY)
