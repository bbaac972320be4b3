"""Limits of an org, its projects and their keys: exact at every level, all or nothing.

The keys are registered; two processes decide thousands of calls at once. What they let pass is what
each counter says, and what a 429 names is the level whose limit was reached.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import itertools
import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

from ratelimitd._gen.ratelimitd.v1 import admin_pb2 as pb
from tests.e2e.support.limiter import run_limiter
from tests.e2e.support.redis_calls import crowd, dial, question
from tests.e2e.support.redis_fleet import PATIENT, total
from tests.e2e.support.registry_changes import administrator
from tests.e2e.support.waiting import room_in_window

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.e2e.support.limiter import Limiter
    from tests.e2e.support.redis_calls import Answer

WINDOW: Final = 30 * 86_400
"""Seconds: longer than any test."""
KEY, PROJECT, ORG = 60, 200, 500
POLICY: Final = f"""
domain: test
subject: {{default_tier: deny}}
attributes: [org, project]
tiers:
  t:
    limits:
      - {{meter: requests, rate: {KEY}/30d}}
      - {{meter: requests, rate: {PROJECT}/30d, per: [org, project], name: project-month}}
      - {{meter: requests, rate: {ORG}/30d, per: [org], name: org-month}}
headers: {{families: [x-ratelimit]}}
"""
TEAMS: Final = {("a", "web"): 5, ("a", "api"): 5, ("a", "ops"): 5, ("b", "web"): 5, ("b", "api"): 2}
"""Keys of each project. Org a's three are bound by their org, b's by the project and by their keys;
two projects of different orgs have one name."""
EACH: Final = 200
"""Calls of each key; more than any may make. Whoever is denied once stays denied, so that what
passes in the end depends on no order."""
CALLERS: Final = 3
"""Of each key and process."""
NAMED: Final = {
    (KEY, None, None): "key",
    (PROJECT, "project-month", "org, project"): "project",
    (ORG, "org-month", "org"): "org",
}
"""Levels, by what the body of a 429 says: `limit`, `limit_name`, `scope`."""
STORES: Final = ("memory", "redis_server", "redis_cluster")
"""Where it is counted: in one process, or by the fixture's name."""


class Who(NamedTuple):
    """One key's place."""

    org: str
    project: str
    number: int

    @property
    def key(self) -> str:
        """The API key."""
        return "-".join(("sk", self.org, self.project, str(self.number)))


EVERYBODY: Final = [Who(*team, n) for team, size in TEAMS.items() for n in range(size)]


@contextlib.asynccontextmanager
async def limiters(store: str) -> AsyncIterator[list[Limiter]]:
    """Run two processes where they can share the counts, else one; the keys are registered."""
    flags = ("--store-timeout", PATIENT)
    async with contextlib.AsyncExitStack() as stack:
        processes = 1 if store == "memory" else 2
        runs = [run_limiter(POLICY, store=store, flags=flags) for _ in range(processes)]
        running = [await stack.enter_async_context(run) for run in runs]
        requests = [
            pb.AddKeyRequest(
                key=pb.Key(api_key=who.key),
                record=pb.KeyRecord(tier="t", attributes={"org": who.org, "project": who.project}),
            )
            for who in EVERYBODY
        ]
        async with administrator(running[0]) as admin:
            await admin.ImportKeys(pb.ImportKeysRequest(keys=requests))
        yield running


async def used(limiter: Limiter) -> dict[str, dict[str, int]]:
    """Return what each limit of each key has used, as administrators are told."""
    told = {}
    async with administrator(limiter) as admin:
        for who in EVERYBODY:
            usage = await admin.GetUsage(pb.GetUsageRequest(key=pb.Key(api_key=who.key)))
            told[who.key] = {each.limit: each.used for each in usage.limits}
    return told


def by(passed: dict[Who, int], *names: str) -> dict[Any, int]:
    """Return what passed, by these parts of a key's place."""
    found: collections.Counter[Any] = collections.Counter()
    for who, count in passed.items():
        found[tuple(getattr(who, name) for name in names)] += count
    return found


def level(answer: Answer) -> str:
    """Return what the body of a denial says denied it."""
    assert answer.decision
    details = json.loads(answer.decision.raw_body)["error"]["details"]
    return NAMED[details["limit"], details.get("limit_name"), details.get("scope")]


@pytest.mark.parametrize("kind", STORES)
async def test_every_level_holds_exactly(kind: str, request: pytest.FixtureRequest) -> None:
    """No level lets more pass, none is charged for what another denied, and the 429 says which."""
    store = kind if kind == "memory" else request.getfixturevalue(kind).url
    async with limiters(store) as running:
        await room_in_window(WINDOW, 60)
        async with dial(*(limiter.address for limiter in running)) as lines:
            asked = (itertools.repeat(question(who.key), EACH) for who in EVERYBODY)
            answers = await asyncio.gather(*(crowd(lines, CALLERS, each) for each in asked))
        assert await total(running, "store_failures_total") == 0
        told = await used(running[-1])
    assert {len(each) for each in answers} == {EACH}
    pairs = dict(zip(EVERYBODY, answers, strict=True))
    passed = {who: sum(answer.passes for answer in each) for who, each in pairs.items()}
    org, project = by(passed, "org"), by(passed, "org", "project")
    assert org == {("a",): ORG, ("b",): PROJECT + 2 * KEY}
    assert (project["b", "web"], project["b", "api"]) == (PROJECT, 2 * KEY)
    every = set()
    for who, count in passed.items():
        in_project, in_org = project[who.org, who.project], org[who.org,]
        assert told[who.key] == {
            "requests/30d": count,
            "project-month": in_project,
            "org-month": in_org,
        }
        reached = {"key": count == KEY, "project": in_project == PROJECT, "org": in_org == ORG}
        denied = {level(answer) for answer in pairs[who] if not answer.passes}
        assert denied <= {name for name, is_so in reached.items() if is_so}
        every |= denied
    assert every == {"key", "project", "org"}
