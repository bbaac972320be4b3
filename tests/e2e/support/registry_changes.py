"""How soon a change of a key is in force in another process, while both decide other calls.

Changes are told to one limiter's AdminService; the other is asked, with peeks, until it obeys.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import time
from typing import TYPE_CHECKING, Any, Final

import grpc.aio

from ratelimitd._gen.ratelimitd.v1 import admin_pb2 as pb
from ratelimitd._gen.ratelimitd.v1.admin_pb2_grpc import AdminServiceStub
from tests.e2e.support.limiter import AS_SHIPPED, Limiter, run_limiter
from tests.e2e.support.redis_calls import dial, paced, question
from tests.e2e.support.redis_fleet import PATIENT, total
from tests.e2e.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.e2e.support.redis_calls import Answer, Line

POLICY: Final = """
domain: test
subject: {default_tier: free}
tiers:
  free: {requests: 1M/hour}
  pro: {requests: 2M/hour}
headers: {families: [x-ratelimit], report: requests/hour}
"""
FREE, PRO, BOOSTED, OWN = "1000000", "2000000", "3000000", "77000000"
REFUSED: Final = None
"""In the place of a limit: the key is refused, and no limit is shown."""
CROWD: Final = 100
"""Registered keys that nobody changes and everybody uses."""
RATE: Final = 400.0
"""Calls a second of that crowd, half of them to each process."""
GAP: Final = 0.005
"""Seconds between two questions whether a change is in force."""
GIVEN_UP: Final = 10.0


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """What came of some changes under load."""

    seconds: dict[str, list[float]]
    """Kind of change to the time from the administrator's answer to the first call that obeys."""
    calls: int
    """Of the crowd."""
    wrong: int
    """Of these, those that failed, were denied, or were limited as if not registered."""
    failures: float
    """Calls that some process decided without its store."""

    @property
    def every(self) -> list[float]:
        """Return all times, in order."""
        return sorted(itertools.chain.from_iterable(self.seconds.values()))

    def assert_in_force(self, within: float, calls: int) -> None:
        """Assert that each was in force within so many seconds, and hurt none of so many calls."""
        print(self)
        assert self.every[-1] < within
        assert self.calls > calls
        assert (self.wrong, self.failures) == (0, 0)

    def __str__(self) -> str:
        each = ", ".join(f"{kind} {max(took):.3f}" for kind, took in self.seconds.items())
        middle, longest = self.every[len(self.every) // 2], self.every[-1]
        return (
            f"{len(self.every)} changes: median {middle:.3f} s, longest {longest:.3f} s ({each}); "
            f"{self.calls:,} calls beside, {self.wrong} wrong"
        )


@contextlib.asynccontextmanager
async def administrator(limiter: Limiter) -> AsyncIterator[Any]:
    """Call a limiter's AdminService."""
    async with grpc.aio.insecure_channel(limiter.admin) as channel:
        yield AdminServiceStub(channel)


def changes() -> dict[str, tuple[pb.KeyRecord, str | None]]:
    """Return what becomes of a key, step by step, and the limit that it has from then on."""
    boost = pb.KeyRecord(tier="pro")
    boost.boost.until.FromSeconds(int(time.time()) + 3600)
    boost.boost.factor = "1.5"
    own = pb.KeyRecord(tier="pro", limits=[pb.OwnLimit(meter="requests", rate="77M/hour")])
    revoked = pb.KeyRecord(tier="pro", revoked=True)
    return {
        "upgrade": (pb.KeyRecord(tier="pro"), PRO),
        "boost": (boost, BOOSTED),
        "custom limits": (own, OWN),
        "revoke": (revoked, REFUSED),
    }


def obeys(answer: Answer, limit: str | None) -> bool:
    """Say whether an answer is that of a key with this limit."""
    assert answer.status == 0, "a call failed"
    return answer.header("x-ratelimit-limit") == limit and answer.passes is (limit is not None)


async def change_all(admin: Any, line: Line, key: str) -> dict[str, float]:  # noqa: ANN401 - a stub
    """Register a key, change it step by step, and return how soon each was in force elsewhere.

    Once a change is obeyed, it is for good: no later call is answered as before.
    """
    which = pb.Key(api_key=key)
    took = {}
    await admin.AddKey(pb.AddKeyRequest(key=which, record=pb.KeyRecord(tier="free")))
    assert obeys(await line.ask(question(key, 0)), FREE)
    for kind, (record, limit) in changes().items():
        if kind == "revoke":
            await admin.RevokeKey(pb.RevokeKeyRequest(key=which))
        else:
            await admin.SetKey(pb.SetKeyRequest(key=which, record=record))
        told = time.perf_counter()
        while not obeys(await line.ask(question(key, 0)), limit):
            assert time.perf_counter() < told + GIVEN_UP, f"{kind}: not obeyed"
            await asyncio.sleep(GAP)
        took[kind] = time.perf_counter() - told
        again = [await line.ask(question(key, 0)) for _ in range(5)]
        assert all(obeys(answer, limit) for answer in again)
    return took


async def crowded(lines: list[Line], seconds: float, stop: asyncio.Event) -> list[Answer]:
    """Let the crowd ask until it is told to stop; return all answers."""
    found: list[Answer] = []
    asked = itertools.cycle(question(f"crowd-{number}") for number in range(CROWD))
    while not stop.is_set():
        found += await paced(lines, RATE, seconds, asked)
    return found


async def measure(
    place: str, keys: int, *, store: str = "memory", program: str = AS_SHIPPED
) -> Seen:
    """Change `keys` keys in one of two processes that share the registry at `place`."""
    flags = ("--registry", place, "--store-timeout", PATIENT)
    async with (
        run_limiter(POLICY, store=store, flags=flags, program=program) as one,
        run_limiter(POLICY, store=store, flags=flags, program=program) as other,
        administrator(one) as admin,
        dial(one.address, other.address, other.address) as (*lines, asking),
    ):
        await _register_crowd(admin, lines)
        stop = asyncio.Event()
        load = asyncio.create_task(crowded(lines, 0.5, stop))
        took = [await change_all(admin, asking, f"changed-{number}") for number in range(keys)]
        stop.set()
        answers = await load
        failures = await total((one, other), "store_failures_total")
    wrong = sum(not obeys(answer, PRO) for answer in answers)
    seconds = {kind: [each[kind] for each in took] for kind in changes()}
    return Seen(seconds, len(answers), wrong, failures)


async def _register_crowd(admin: Any, lines: list[Line]) -> None:  # noqa: ANN401 - a stub
    """Register everybody of the crowd, and let both processes meet them."""
    records = [
        pb.AddKeyRequest(key=pb.Key(api_key=f"crowd-{n}"), record=pb.KeyRecord(tier="pro"))
        for n in range(CROWD)
    ]
    await admin.ImportKeys(pb.ImportKeysRequest(keys=records))

    async def so() -> bool:
        asked = [line.ask(question(f"crowd-{n}", 0)) for n in range(CROWD) for line in lines]
        return all(obeys(answer, PRO) for answer in await asyncio.gather(*asked))

    await wait_until(so, description="both processes know the crowd")
