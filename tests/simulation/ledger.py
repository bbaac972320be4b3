"""What truly happened, written beside the store: who asked, what was decided, what was answered.

Its marks travel with the decisions (`script.TAG`), so that each is known on both sides. `audit`
compares; it knows nothing of how the store works.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field

from ratelimitd.model import Algorithm, Kind, Op
from ratelimitd.stores.ports import Taken
from ratelimitd.stores.redis.batcher import Verdict
from ratelimitd.stores.redis.counters import RedisCounters
from ratelimitd.stores.redis.script import bulk
from ratelimitd.stores.redis.wire import DENIED, PASSED, REPEATED, Package
from ratelimitd.stores.stacking import identity_of
from tests.simulation.script import TAG

LIFETIME = 1_000_000
SLACK = 200_000
"""Microseconds: an answer's way back, by which a client's clock is behind."""
WHO: ContextVar[str] = ContextVar("who", default="nobody")
Identity = tuple[str, bytes]


@dataclass
class Asked:
    """One call of a client."""

    name: str
    ops: Sequence[Op]
    begun: float
    ended: float = -1
    outcome: str = "open"
    taken: Taken | None = None
    tags: list[str] = field(default_factory=list)
    slots: dict[int, list[str]] = field(default_factory=dict)


@dataclass
class _Full:
    """A denial that one process was told of a counter."""

    seen_us: int
    left_us: int


class Ledger:
    """One run's book. `faults` grows as things go wrong."""

    def __init__(self) -> None:
        self.calls: dict[str, Asked] = {}
        self.heard: dict[str, Verdict] = {}
        self.debts: dict[bytes, tuple[str, int]] = {}
        self.back: dict[str, bytes] = {}
        self.trace: list[str] = []
        self.faults: list[str] = []
        self._full: dict[tuple[int, Identity], _Full] = {}

    def say(self, text: str) -> None:
        """Write a line of the trace."""
        self.trace.append(f"{asyncio.get_running_loop().time():9.4f} {text}")

    def watch(self, client: int, counters: RedisCounters) -> None:
        """Put marks on what a client sends, and listen to what it hears."""
        fleet, owed = counters._fleet, counters._owed
        submit, give_back, send = fleet.submit, owed.give_back, owed._send

        async def marked(slot: int, package: Package) -> Verdict:
            who = WHO.get()
            tag = f"{who}/{self._next()}"
            call = self.calls.get(who)
            if call is not None:
                call.tags.append(tag)
                call.slots.setdefault(slot, []).append(tag)
            elif who.startswith("back:"):
                self.back[tag] = bytes.fromhex(who.removeprefix("back:"))
            arguments = package.arguments + bulk(TAG + tag.encode())
            count = package.argument_count + 1
            answer = await submit(slot, package._replace(arguments=arguments, argument_count=count))
            verdict = self.heard[tag] = answer._replace(status=answer.status % REPEATED)
            if call is not None:
                there = [op for op in call.ops if slot_of(counters, op) == slot]
                self._learn(client, there, verdict)
            return answer

        def owing(slot: int, ops: Sequence[Op], taken: Taken) -> Taken:
            before = set(map(id, owed._debts))
            left = give_back(slot, ops, taken)
            for debt in owed._debts:
                if id(debt) not in before:
                    self.debts[debt.identity] = (WHO.get(), slot)
            return left

        async def sending(slot: int, ops: Sequence[Op], now: int, identity: bytes) -> None:
            WHO.set(f"back:{identity.hex()}")
            await send(slot, ops, now, identity)
            self.told(client, ops)

        fleet.submit = marked  # type: ignore[method-assign]
        owed.give_back = owing  # type: ignore[method-assign]
        owed._send = sending

    _count = 0

    def _next(self) -> int:
        self._count += 1
        return self._count

    async def ask(self, client: int, name: str, ops: Sequence[Op], take: Awaitable[Taken]) -> Taken:
        """Await a call, and write down what came of it."""
        loop = asyncio.get_running_loop()
        call = self.calls[name] = Asked(name, ops, loop.time())
        WHO.set(name)
        try:
            call.taken = await take
            call.outcome = "passed" if call.taken.passed else "denied"
        except asyncio.CancelledError:
            call.outcome = "cancelled"
            raise
        except Exception as error:
            call.outcome = type(error).__name__
            raise
        finally:
            call.ended = loop.time()
            self.say(f"{name} {_spell(ops)} {call.outcome}")
        if not call.tags:
            self._cached(client, call)
        return call.taken

    def told(self, client: int, ops: Sequence[Op]) -> None:
        """Take note that a process knows that it changed counters."""
        for op in ops:
            self._full.pop((client, identity_of(op)), None)

    def _learn(self, client: int, ops: Sequence[Op], verdict: Verdict) -> None:
        """Take note of what a process has just been told of some counters."""
        now = int(asyncio.get_running_loop().time() * 1e6)
        for op in ops if verdict.status == DENIED else ():
            left, window = LIFETIME, op.limit.window
            if window and op.limit.algorithm is not Algorithm.TOKEN_BUCKET:
                left = window.span(verdict.now).end - verdict.now
            self._full[client, identity_of(op)] = _Full(now, min(left, LIFETIME))
        if verdict.status in {PASSED, DENIED}:
            changed = verdict.status == PASSED
            self.told(client, [op for op in ops if changed or op.kind > Kind.PEEK])

    def _cached(self, client: int, call: Asked) -> None:
        """Judge an answer for which no server was asked."""
        now = int(asyncio.get_running_loop().time() * 1e6)
        if call.outcome == "passed":
            self.faults.append(f"{call.name}: passed without asking")
        for op in call.ops:
            full = self._full.get((client, identity_of(op)))
            if full is None:
                self.faults.append(f"{call.name}: denied from the cache after a refund")
            elif now > full.seen_us + full.left_us + SLACK:
                self.faults.append(f"{call.name}: denied from the cache past its reset")


def slot_of(counters: RedisCounters, op: Op) -> int:
    """Return the slot to which a store sends an operation."""
    layout = counters._layout
    return counters._slots[layout.bucket(op.counter)] if layout.together else 0


def _spell(ops: Sequence[Op]) -> str:
    kinds = ("charge", "acquire", "peek", "report", "refund", "release", "renew")
    return ", ".join(
        f"{kinds[op.kind]} {op.hits} {op.counter.key.decode()} {op.limit.name}" for op in ops
    )


def statuses(call: Asked, heard: dict[str, Verdict]) -> dict[int, Verdict | None]:
    """Return the last verdict that a call heard of each of its parts; None: it heard none."""
    found: dict[int, Verdict | None] = {}
    for slot, tags in call.slots.items():
        known = [heard[tag] for tag in tags if tag in heard]
        final = [each for each in known if each.status in {PASSED, DENIED}]
        found[slot] = final[-1] if final else None
    return found
