"""Callers who go away at any moment, while Redis is a few milliseconds away: who got whose answer.

Each caller has a limit of a size of its own, so that an answer says whose it is; and each asks one
call after the other, so that what was used before says which of them it answers.
"""

from __future__ import annotations

import asyncio
import dataclasses
import random
from typing import TYPE_CHECKING, Final

from tests.e2e.support.redis_calls import HANGS, dial, question
from tests.e2e.support.redis_fleet import PATIENT, counters, run_fleet
from tests.support.redis.proxy import Proxy

if TYPE_CHECKING:
    from tests.e2e.support.redis_calls import Answer, Line
    from tests.support.redis.server import Server

CALLERS: Final = 40
ROOM: Final = 1_000_000
DELAY: Final = 0.002
"""Seconds, each way."""
LONGEST: Final = 0.006
"""Seconds after which a caller has gone away, if it goes: about as long as an answer takes."""
_KEYS: Final = "".join(
    f"  - {{key: caller-{number}, tier: none, limits: {{requests: {ROOM + number}/366d}}}}\n"
    for number in range(CALLERS)
)
_POLICY: Final = f"""
domain: test
subject: {{default_tier: deny}}
tiers: {{none: {{}}}}
keys:
{_KEYS}"""


@dataclasses.dataclass(slots=True)
class Cancels:
    """What came of it."""

    asked: int = 0
    cancelled: int = 0
    wrong: list[str] = dataclasses.field(default_factory=list)
    """Answers that were not for this caller, or not for this call."""
    reconnects: int = 0
    """Connections to Redis but the first."""
    decided: int = 0
    """Decisions that Redis was asked for, by the limiter's own figures."""
    counted: int = 0
    """What all counters say in the end."""
    failures: int = 0


@dataclasses.dataclass(slots=True)
class _Caller:
    number: int
    asked: int = 0
    used: int = 0
    """What the last answer said."""

    def fault(self, answer: Answer) -> str:
        """Return what is wrong with an answer to the latest call; nothing if it is right."""
        limit = int(answer.header("X-RateLimit-Limit") or 0)
        used = limit - int(answer.header("X-RateLimit-Remaining") or 0)
        right = limit == ROOM + self.number and self.used < used <= self.asked
        wrong = f"caller {self.number}, call {self.asked} after {self.used} used: {answer}"
        self.used = used
        return "" if right and answer.passes else wrong


async def cancels(server: Server, calls: int, seed: int) -> Cancels:
    """Make calls of which half are taken back at a random moment."""
    seen = Cancels()
    async with (
        Proxy(server) as proxy,
        run_fleet(proxy.url, _POLICY, processes=1, silence=PATIENT) as (limiter,),
        dial(*[limiter.address] * CALLERS) as lines,
    ):
        # Once without delay: until Redis knows the script, a decision is sent twice.
        assert (await lines[0].ask(question("caller-0"))).passes
        before, counted = await limiter.figures(), sum(counters(server).values())
        proxy.delay_requests = proxy.delay_replies = DELAY
        connections = proxy.connections
        async with asyncio.timeout(HANGS), asyncio.TaskGroup() as group:
            for number, line in enumerate(lines):
                chance = random.Random(f"{seed} {number}")
                caller = _Caller(number, used=int(number == 0), asked=int(number == 0))
                group.create_task(_call(line, caller, calls // CALLERS, chance, seen))
        told = await limiter.figures()
        seen.reconnects = proxy.connections - connections
        since = {name: told[name] - before[name] for name in before}
        seen.decided = int(since["store_batched_total"] - since["store_stale_total"])
        seen.failures = int(told.get("store_failures_total", 0))
        seen.counted = sum(counters(server).values()) - counted
    return seen


async def _call(
    line: Line, caller: _Caller, calls: int, chance: random.Random, seen: Cancels
) -> None:
    """Make one caller's calls. It waits for the last one: what came before it is decided then."""
    asked = question(f"caller-{caller.number}")
    for number in range(calls):
        caller.asked += 1
        seen.asked += 1
        answering = line.ask(asked)
        if number < calls - 1 and chance.random() < 0.5:
            await asyncio.wait({answering}, timeout=chance.uniform(0, LONGEST))
            if answering.cancel():
                seen.cancelled += 1
                continue
        if fault := caller.fault(await answering):
            seen.wrong.append(fault)
