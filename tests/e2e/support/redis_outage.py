"""A limiter under load while something befalls its Redis: what its callers got, and when.

Eight callers with room ask one call after the other, and one that has used up all it may. Of each
answer it is told whether it is the store's or the failure policy's, by the table of
docs/store-failure.md alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Final

import grpc

from ratelimitd._gen.envoy.service.ratelimit.v3.rls_pb2 import RateLimitResponse
from tests.e2e.support.limiter import run_limiter
from tests.e2e.support.redis_calls import dial, percentile, question
from tests.e2e.support.redis_faults import FAULTS, NOTICED, stage
from tests.e2e.support.waiting import wait_until
from tests.robustness.support.watched import memory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from tests.e2e.support.limiter import Limiter
    from tests.e2e.support.redis_calls import Answer, Line

MODES: Final = ("local", "allow", "deny", "error")
CALLERS: Final = 8
PAUSE: Final = 0.02
"""Seconds between a caller's calls."""
SPENT: Final = "spent"
HANGS: Final = 10.0
"""Seconds after which a call is one that hangs: a hundred times what a limiter waits."""
CACHED: Final = 1.1
"""Seconds, and a little, for which a limiter may know without asking who is over a limit."""
WITHIN: Final = 20.0
"""Seconds for a change to be noticed, on the slowest machine."""
_POLICY: Final = """
domain: test
subject: {{default_tier: roomy}}
tiers: {{roomy: {{requests: 1M/366d}}, tight: {{requests: 5/366d}}}}
keys: [{{key: spent, tier: tight}}]
on_store_failure: {mode}
"""


def is_stores(key: str, answer: Answer) -> bool:
    """Say whether an answer is what the store's counts say: so it is in `local`, too."""
    told = answer.header("X-RateLimit-Remaining") is not None
    if key != SPENT:
        return answer.passes and told
    waits = int(answer.header("Retry-After") or 0)
    return answer.decision is not None and not answer.passes and told and waits > 1


def is_policys(mode: str, key: str, answer: Answer) -> bool:
    """Say whether an answer is what the failure policy says."""
    if mode == "local":
        return is_stores(key, answer)
    if mode == "error":
        return answer.status == grpc.StatusCode.UNAVAILABLE.value[0]
    if answer.decision is None or answer.header("X-RateLimit-Limit") is not None:
        return False
    if mode == "allow":
        return answer.passes and not answer.decision.response_headers_to_add
    return _is_denial(answer.decision) and answer.header("Retry-After") == "1"


def _is_denial(decision: RateLimitResponse) -> bool:
    if decision.overall_code != RateLimitResponse.OVER_LIMIT:
        return False
    details = json.loads(decision.raw_body)["error"]["details"]
    return bool(details["reason"] == "store_unavailable")


@dataclasses.dataclass(slots=True)
class Outage:
    """What was seen. Instants are by `time.perf_counter`."""

    mode: str
    answers: dict[str, list[Answer]] = dataclasses.field(default_factory=lambda: defaultdict(list))
    """By caller, in order."""
    began: float = 0.0
    """The fault began."""
    taken_over: float = 0.0
    """The limiter had noticed."""
    ending: float = 0.0
    """Redis was about to be back."""
    returned: float = 0.0
    """Redis was back."""
    recovered: float = 0.0
    """The limiter said that its store answers, and did not take it back."""
    failures: int = 0
    """Calls that the store did not answer."""
    grown: int = 0
    """KiB of the limiter's memory."""
    log: str = ""
    alive: bool = False
    charged: dict[str, int] = dataclasses.field(default_factory=dict)
    """What the store has counted in the end, by caller."""

    @property
    def recovery(self) -> float:
        """Seconds from Redis's return to normal service."""
        return max(0.0, self.recovered - self.returned)

    @property
    def longest(self) -> float:
        """Seconds that a caller waited at most."""
        return max(each.seconds for answers in self.answers.values() for each in answers)

    @property
    def p99(self) -> float:
        """Milliseconds that one call in a hundred was over while the policy decided."""
        during = [each for _, each in self.during()]
        return percentile(during, 0.99) if during else 0.0

    @property
    def roomy(self) -> tuple[int, int]:
        """Calls with room that passed as the store's, and what the store counted of them."""
        keys = [key for key in self.answers if key != SPENT]
        passed = sum(is_stores(key, each) for key in keys for each in self.answers[key])
        return passed, sum(self.charged[key] for key in keys)

    def during(self) -> list[tuple[str, Answer]]:
        """Return the calls that were made and answered while the policy decided."""
        return [
            (key, each)
            for key, answers in self.answers.items()
            for each in answers
            if self.taken_over <= each.asked and each.answered <= self.ending
        ]

    def odd(self, *, forgotten: bool) -> list[tuple[str, Answer]]:
        """Return the answers that are neither the store's nor the policy's.

        A store that has `forgotten` lets the caller who was spent begin anew.
        """
        return [
            (key, each)
            for key, answers in self.answers.items()
            for each in answers
            if not is_stores(key, each)
            and not is_policys(self.mode, key, each)
            and not (forgotten and each.answered >= self.began and is_stores("", each))
        ]


async def outage(
    mode: str, fault: str, hold: float, *, silence: str = "100ms", steady: float = 0.3
) -> Outage:
    """Run a limiter through a fault that lasts `hold` seconds more once it is noticed.

    Back in service is who has said so for `steady` seconds without a failure.
    """
    async with stage() as at:
        befalling = FAULTS[fault](at)
        notice = fault in NOTICED
        return await befall(mode, at.url, befalling, hold, silence, notice=notice, steady=steady)


async def befall(
    mode: str,
    url: str,
    fault: AbstractAsyncContextManager[None],
    hold: float,
    silence: str,
    *,
    notice: bool = False,
    steady: float = 0.3,
) -> Outage:
    """Run a limiter that counts at `url` through any fault; `notice`: it is to have noticed it."""
    seen = Outage(mode)
    async with (
        run_limiter(
            _POLICY.format(mode=mode), store=url, flags=("--store-timeout", silence)
        ) as limiter,
        dial(limiter.address) as (line,),
    ):
        async with _load(line, seen):
            await _befall(fault, limiter, seen, hold, notice=notice)
            await _recover(limiter, seen, steady)
        for key in seen.answers:
            seen.charged[key] = await _charged(line, key)
        seen.failures = int((await limiter.figures()).get("store_failures_total", 0))
        seen.alive = limiter.process.returncode is None
        seen.log = await asyncio.to_thread(limiter.log.read_text, "utf-8")
    return seen


@contextlib.asynccontextmanager
async def _load(line: Line, seen: Outage) -> AsyncIterator[None]:
    """Keep calling while the block runs, which begins once everybody has been served."""
    stop = asyncio.Event()
    spent = await line.ask(question(SPENT, 5))
    assert spent.passes

    async def caller(key: str) -> None:
        asked = question(key)
        while not stop.is_set():
            async with asyncio.timeout(HANGS):
                seen.answers[key].append(await line.ask(asked))
            await asyncio.sleep(PAUSE)

    async with asyncio.TaskGroup() as group:
        for key in (SPENT, *(f"caller-{number}" for number in range(CALLERS))):
            group.create_task(caller(key))
        try:
            await wait_until(
                lambda: (
                    len(seen.answers) == CALLERS + 1 and min(map(len, seen.answers.values())) >= 10
                ),
                description="everybody is served",
                within=WITHIN,
            )
            yield
        finally:
            stop.set()


async def _befall(
    fault: AbstractAsyncContextManager[None],
    limiter: Limiter,
    seen: Outage,
    hold: float,
    *,
    notice: bool,
) -> None:
    before = (await limiter.figures()).get("store_failures_total", 0)
    size = memory(limiter.process.pid)

    async def noticed() -> bool:
        return (await limiter.figures()).get("store_failures_total", 0) > before

    seen.began = time.perf_counter()
    async with fault:
        if notice:
            await wait_until(noticed, description="a call is decided by policy", within=WITHIN)
        seen.taken_over = time.perf_counter()
        await asyncio.sleep(hold)
        seen.ending = time.perf_counter()
        seen.grown = memory(limiter.process.pid) - size
    seen.returned = time.perf_counter()


async def _recover(limiter: Limiter, seen: Outage, steady: float) -> None:
    """Wait until the limiter has been well for a while, and remember since when."""
    well: tuple[float, float] | None = None

    async def is_steady() -> bool:
        nonlocal well
        told = await limiter.figures()
        failures, now = told.get("store_failures_total", 0), time.perf_counter()
        if not told["store_up"]:
            well = None
        elif well is None or failures > well[1]:
            well = now, failures
        return well is not None and now - well[0] >= steady

    await wait_until(is_steady, description="the store is back", within=WITHIN)
    assert well
    seen.recovered = well[0]


async def _charged(line: Line, key: str) -> int:
    """Return what the store has counted of a caller's, as soon as it is the store that answers."""
    answer = await line.ask(question(key, 0))
    async with asyncio.timeout(WITHIN):
        while (limit := answer.header("X-RateLimit-Limit")) is None:
            await asyncio.sleep(PAUSE)
            answer = await line.ask(question(key, 0))
    return int(limit) - int(answer.header("X-RateLimit-Remaining") or 0)
