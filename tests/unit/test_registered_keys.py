"""Decisions about registered keys: looked up once, changed at once, and never waiting when warm."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from ratelimitd._gen.ratelimitd.v1.admin_pb2 import KeyRecord
from ratelimitd.accounts import known as registered
from ratelimitd.accounts.known import KnownKeys
from ratelimitd.accounts.memory_records import MemoryRecords
from ratelimitd.accounts.record import Boost, OwnLimit, Record
from ratelimitd.accounts.records import MOST_CHANGES, Changes, Mark
from ratelimitd.clock import ManualClock
from ratelimitd.decision import Decision
from ratelimitd.errors import StoreUnavailableError
from ratelimitd.limiter import Limiter
from ratelimitd.model import Descriptor, Question, Subject
from ratelimitd.policy.spec import Policy, SubjectRule, Verdict
from ratelimitd.rpc.admin_records import read
from ratelimitd.stores.memory.counters import MemoryCounters
from tests.support.ops import NEW_YEAR
from tests.support.policies import HASHER, agent_api
from tests.support.stores import at_once

KEY = HASHER.key("sk-acme")
HOUR = 3_600_000_000


class Counted(MemoryRecords):
    """A registry that says how often it was read, and may be away."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.is_away = False

    async def get(self, subjects: object) -> list[Record | None]:
        """Count, and fail where it is away."""
        self.reads += 1
        if self.is_away:
            raise StoreUnavailableError("away")
        return await super().get(subjects)  # type: ignore[arg-type]


class Bench:
    """A limiter whose keys are registered, and one question that is asked again and again."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.clock = ManualClock(NEW_YEAR)
        self.records = Counted()
        self.known = KnownKeys(self.records, self.clock)
        self.limiter = Limiter(
            [policy or agent_api()],
            MemoryCounters(self.clock),
            HASHER,
            new_lease=lambda: "lease",
            on_event=lambda *_: None,
            registry=self.known,
        )
        self.question = Question("agent-api", (Descriptor(entries=(("api_key", "sk-acme"),)),))

    def put(self, record: Record) -> None:
        """Register a key, or change it; it is in force at once."""
        (found,) = at_once(self.records.get([record.subject]))
        version = found.version if found else 0
        assert at_once(self.records.put([replace(record, version=version)])) != [0]
        self.known.changed([record.subject])

    def ask(self) -> Decision:
        """Ask the same question object, as a transport does for equal bytes."""
        return at_once(self.limiter.decide(self.question))

    def amount(self) -> int:
        """Return the amount of the limit that headers show."""
        shown = self.ask().shown
        assert shown
        return shown.limit.amount


def acme(tier: str = "pro", **fields: object) -> Record:
    """Return the key's record."""
    return Record(subject=KEY, tier=tier, **fields)  # type: ignore[arg-type]


def test_a_key_is_looked_up_once() -> None:
    """A registered one, and one that nobody registered; by whichever question."""
    bench = Bench()
    for _ in range(3):
        assert bench.amount() == 100
    assert bench.records.reads == 1
    bench.put(acme())
    reads = bench.records.reads
    for _ in range(3):
        assert bench.amount() == 1_000
    assert bench.records.reads == reads + 1


def test_an_upgrade_keeps_what_was_used() -> None:
    """In the middle of a window the limit grows, and the count goes on."""
    bench = Bench()
    bench.put(acme("free"))
    bench.ask()
    bench.put(acme("pro"))
    shown = bench.ask().shown
    assert shown
    assert (shown.limit.amount, shown.after) == (1_000, 2)


def test_own_limits_replace_those_of_their_meter() -> None:
    """All windows of that meter, and no other meter's."""
    bench = Bench()
    bench.put(acme(limits=(OwnLimit(meter="requests", rate="7/hour"),)))
    decision = bench.ask()
    assert [standing.limit.amount for standing in decision.every] == [7]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"is_revoked": True}, "API key is revoked"),
        ({"is_disabled": True}, "API key is disabled"),
        ({"expires": NEW_YEAR}, "API key is expired"),
        ({"tier": "custom"}, "API key is of a custom tier, and has no limits of its own yet"),
    ],
)
def test_some_keys_are_refused(fields: dict[str, object], why: str) -> None:
    """Whatever they ask, and in words that say why."""
    bench = Bench()
    bench.put(acme(**{"tier": "pro", **fields}))  # type: ignore[arg-type]
    decision = bench.ask()
    assert (decision.allowed, decision.refusal) == (False, why)


def test_no_expiry_is_so_early_that_it_is_none() -> None:
    """What ended with 1969 has ended."""
    message = KeyRecord(tier="pro")
    message.expires.SetInParent()
    assert read(message, KEY).refusal(NEW_YEAR) == "expired"
    message.ClearField("expires")
    assert not read(message, KEY).refusal(NEW_YEAR)


def test_a_key_expires_when_its_time_comes() -> None:
    """Nobody changes the record then: time does."""
    bench = Bench()
    bench.put(acme(expires=NEW_YEAR + HOUR))
    assert bench.ask().allowed
    bench.clock.advance(HOUR)
    bench.known.pass_time()
    assert bench.ask().refusal == "API key is expired"


def test_a_boost_ends_by_itself() -> None:
    """By a factor on every limit, until its date."""
    bench = Bench()
    bench.put(acme(boost=Boost(until=NEW_YEAR + HOUR, factor="2.5")))
    assert bench.amount() == 2_500
    bench.clock.advance(HOUR)
    bench.known.pass_time()
    assert bench.amount() == 1_000


def test_a_boost_of_a_meter_is_its_limit_for_a_while() -> None:
    """In the place of the tier's and of the key's own."""
    bench = Bench()
    more = (OwnLimit(meter="requests", rate="9_999/hour"),)
    own = (OwnLimit(meter="requests", rate="5/hour"),)
    bench.put(acme(limits=own, boost=Boost(until=NEW_YEAR + HOUR, limits=more)))
    assert bench.amount() == 9_999


def test_a_tier_that_the_policy_lacks_is_nobodys() -> None:
    """The key is limited as one that nobody registered."""
    bench = Bench()
    bench.put(acme("platinum"))
    assert bench.amount() == 100


def test_the_policy_files_own_keys_come_first() -> None:
    """And are not looked up."""
    bench = Bench()
    bench.question = Question("agent-api", (Descriptor(entries=(("api_key", "demo-pro"),)),))
    bench.put(replace(acme("free"), subject=HASHER.key("demo-pro")))
    reads = bench.records.reads
    assert bench.amount() == 1_000
    assert bench.records.reads == reads


def test_what_was_last_known_serves_while_the_registry_is_away() -> None:
    """A key that was never seen is limited as an unregistered one, until it can be looked up."""
    bench = Bench()
    bench.put(acme())
    assert bench.amount() == 1_000
    bench.records.is_away = True
    bench.known.changed([KEY])
    assert bench.amount() == 1_000
    bench.question = Question("agent-api", (Descriptor(entries=(("api_key", "new"),)),))
    assert bench.amount() == 100


def test_a_key_that_cannot_be_looked_up_is_not_called_unregistered() -> None:
    """Where unregistered keys are refused, it is told that nobody knows."""
    rule = SubjectRule(default_tier=Verdict.DENY, missing="free")
    bench = Bench(agent_api(subject=rule))
    bench.records.is_away = True
    assert bench.ask().refusal == "API key cannot be checked at present"


def test_the_cache_is_bounded() -> None:
    """However many keys callers invent."""
    bench = Bench()
    bench.known = KnownKeys(bench.records, bench.clock, kept=10)
    for number in range(100):
        at_once(bench.known.fetch([Subject(b"%016d" % number)]))
    assert bench.known.figures()["registry_keys"] <= 20


def test_invented_keys_have_no_registered_one_forgotten() -> None:
    """So that it serves in an outage, whoever asked in between."""
    bench = Bench()
    bench.put(acme(is_revoked=True))
    known = KnownKeys(bench.records, bench.clock, kept=10)
    at_once(known.fetch([KEY]))
    for number in range(100):
        at_once(known.fetch([Subject(b"%016d" % number)]))
    bench.records.is_away = True
    known.changed([KEY])
    at_once(known.fetch([KEY]))
    found = known.known(KEY)
    assert found
    record = found.under(agent_api())
    assert (record and record.refusal, found.is_doubtful) == ("revoked", True)


async def test_an_import_holds_up_no_later_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many changes come before one: the feed is read on until there are no more."""
    ended = asyncio.Event()

    class Feed(MemoryRecords):
        """Is read at once, and then no more for an hour, if who reads it waits."""

        async def watch(self, mark: Mark) -> Changes:
            """Tell when it has been read to its end."""
            monkeypatch.setattr(registered, "EVERY", 3_600.0 if mark.origin else 0.0)
            changes = await super().watch(mark)
            if mark.origin and len(changes.subjects) < MOST_CHANGES:
                ended.set()
            return changes

    records = Feed()
    known = KnownKeys(records, ManualClock(NEW_YEAR))
    await known.start()
    await known.fetch([KEY])
    many = [replace(acme(), subject=Subject(b"%016d" % number)) for number in range(3_000)]
    await records.put([*many, acme(is_revoked=True)])
    await asyncio.wait_for(ended.wait(), 10)
    assert known.known(KEY) is None
    await known.close()


class Slow(MemoryRecords):
    """A registry whose answers come when they are let."""

    is_instant = False

    def __init__(self) -> None:
        super().__init__()
        self.answers = asyncio.Event()

    async def get(self, subjects: Sequence[Subject]) -> list[Record | None]:
        """Wait to be let."""
        await self.answers.wait()
        return await super().get(subjects)


async def test_a_late_answer_is_in_force_when_it_comes() -> None:
    """Until then a key of which nothing is known is limited as an unregistered one."""
    records = Slow()
    await records.put([acme(is_revoked=True)])
    known = KnownKeys(records, ManualClock(NEW_YEAR), patience=0.001)
    await known.fetch([KEY])
    meanwhile = known.known(KEY)
    assert meanwhile
    assert (meanwhile.under(agent_api()), meanwhile.is_doubtful) == (None, True)
    answer = known._waiting[KEY]
    records.answers.set()
    await answer
    found = known.known(KEY)
    assert found
    record = found.under(agent_api())
    assert (record and record.refusal, found.is_doubtful) == ("revoked", False)
    assert known.lookups == 1
