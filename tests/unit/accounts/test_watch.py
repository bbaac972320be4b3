"""Which thresholds are reached, from the results of decisions."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence

import pytest

from ratelimitd.accounts.alerting import Wish
from ratelimitd.accounts.alerts import HOUR, Alert
from ratelimitd.accounts.memory_records import MemoryRecords
from ratelimitd.accounts.outbox import Added, Message
from ratelimitd.accounts.record import Record
from ratelimitd.accounts.sqlite_outbox import SqliteOutbox
from ratelimitd.accounts.watch import COUNTED
from ratelimitd.errors import StoreUnavailableError
from ratelimitd.model import Question, Subject
from ratelimitd.policy.spec import Tier
from tests.support.alerts import World, world
from tests.support.ops import MINUTELY, fixed
from tests.support.policies import HASHER, agent_api, describe

PRO = (HASHER.key("demo-pro"),)
WISH = Wish("rate_limit", 80, "https://hooks.example/")


async def events(here: World) -> list[dict[str, object]]:
    """Return the data of all messages that wait."""
    await here.told()
    now = here.clock()
    return [json.loads(each.body)["data"] for each in await here.outbox.claim(now, now, 100)]


async def test_nobody_is_told_of_decisions_while_no_key_has_alerts() -> None:
    """From the first alert on somebody is, and after the last one nobody again."""
    async with world() as here:
        assert not here.watches()
        made = await here.alerting.create(PRO, WISH)
        assert here.watches()
        await here.alerting.remove(PRO, made.alert.id)
        await here.say("api_key=demo-pro")
        assert await here.told() == 0
        assert not here.watches()


async def test_a_threshold_is_told_once_a_window() -> None:
    """Not below it; at it; not again beyond it; again in the next window."""
    async with world() as here:
        await here.alerting.create(PRO, WISH)
        for _ in range(8):
            await here.say("api_key=demo-pro", hits=99)
            here.clock.advance(60_000_000)
        assert await here.told() == 0
        await here.say("api_key=demo-pro", hits=8)
        assert await here.told() == 1
        for _ in range(5):
            await here.say("api_key=demo-pro")
            assert await here.told() == 1
        assert here.counts[COUNTED, "added"] == 1
        assert here.counts[COUNTED, "known"] == 0
        here.clock.advance(HOUR)
        for _ in range(9):
            await here.say("api_key=demo-pro", hits=95)
            here.clock.advance(60_000_000)
        assert await here.told() == 2


async def test_an_alert_made_beyond_its_threshold_is_due_with_the_next_call() -> None:
    """One that is denied as well: a limit without anything left has reached it."""
    async with world() as here:
        await here.say("api_key=demo-pro", hits=100)
        await here.alerting.create(PRO, WISH._replace(limit="requests/minute"))
        assert await here.told() == 0
        assert not (await here.say("api_key=demo-pro")).allowed
        (data,) = await events(here)
        assert (data["used"], data["remaining"]) == (100, 0)


async def test_a_report_counts() -> None:
    """Tokens are told when the response ends."""
    async with world() as here:
        await here.alerting.create(PRO, WISH._replace(type="token_quota"))
        await here.say("api_key=demo-pro", "meter=tokens")
        assert await here.told() == 0
        await here.say("api_key=demo-pro", "meter=tokens", "phase=done", hits=3_000_000)
        (data,) = await events(here)
        assert (data["meter"], data["window"], data["used"]) == ("tokens", "month", 3_000_000)


async def test_an_acquisition_counts_though_it_was_short() -> None:
    """The most that was held until the task looked."""
    async with world() as here:
        await here.alerting.create(PRO, WISH._replace(type="concurrent", threshold=10))
        await here.say("api_key=demo-pro", "meter=concurrent")
        await here.say("api_key=demo-pro", "meter=concurrent", "lease=lease", "phase=done")
        (data,) = await events(here)
        assert (data["used"], data["window"]) == (1, None)


async def test_a_call_of_another_key_is_nobody_s_event() -> None:
    """Nor one of a key without alerts."""
    async with world() as here:
        await here.register("sk-other")
        await here.alerting.create(PRO, WISH)
        await here.say("api_key=sk-other", hits=100)
        await here.say("api_key=unheard-of", hits=10)
        assert await here.told() == 0


async def test_each_domain_has_events_of_its_own() -> None:
    """A key that stands in both is told of both."""
    other = agent_api(domain="other-api")
    async with world(agent_api(), other) as here:
        await here.alerting.create(PRO, WISH._replace(limit="requests/minute"))
        await here.say("api_key=demo-pro", hits=100)
        here.limiter.matchers = dict(reversed(here.limiter.matchers.items()))
        await here.say("api_key=demo-pro", hits=90)
        assert sorted(str(data["used"]) for data in await events(here)) == ["100", "90"]


async def test_an_upgrade_moves_the_threshold() -> None:
    """What was 80 % of a free key is little of a pro one."""
    async with world() as here:
        await here.register("sk-up", "free")
        subjects = (HASHER.key("sk-up"),)
        await here.alerting.create(subjects, WISH._replace(limit="requests/minute"))
        await here.say("api_key=sk-up", hits=7)
        assert await here.told() == 0
        await here.register("sk-up", "pro")
        await here.say("api_key=sk-up", hits=2)
        assert await here.told() == 0
        await here.register("sk-up", "free")
        await here.say("api_key=sk-up")
        assert await here.told() == 1


async def test_a_revoked_key_is_told_no_more() -> None:
    """Its calls are refused, whatever is left."""
    async with world() as here:
        await here.register("sk-gone")
        await here.alerting.create((HASHER.key("sk-gone"),), WISH._replace(limit="requests/minute"))
        await here.say("api_key=sk-gone", hits=79)
        await here.register("sk-gone", is_revoked=True)
        await here.say("api_key=sk-gone", hits=21)
        assert await here.told() == 0


async def test_a_reloaded_policy_is_what_counts() -> None:
    """The alert is about the limit of that name, as large as it is now."""
    async with world() as here:
        await here.alerting.create(PRO, WISH._replace(limit="requests/minute"))
        await here.say("api_key=demo-pro", hits=50)
        assert await here.told() == 0
        smaller = agent_api(tiers={"pro": Tier(name="pro", limits=(fixed(60, MINUTELY),))})
        here.limiter.use(here.limiter.matchers_of([smaller]))
        await here.say("api_key=demo-pro")
        (data,) = await events(here)
        assert (data["used"], data["limit"]) == (51, 60)


async def test_alerts_of_other_processes_are_learnt_from_the_feed() -> None:
    """Made and removed there, in force here."""
    async with world() as here, world(outbox=here.outbox) as other:
        made = await other.alerting.create(PRO, WISH._replace(limit="requests/minute"))
        await here.say("api_key=demo-pro", hits=80)
        assert await here.told() == 0
        await here.watch.read_feed()
        await here.say("api_key=demo-pro")
        assert await here.told() == 1
        await other.alerting.remove(PRO, made.alert.id)
        await here.watch.read_feed()
        here.clock.advance(60_000_000)
        await here.say("api_key=demo-pro", hits=90)
        assert await here.told() == 1


class Moody(SqliteOutbox):
    """An outbox that takes what a test wants."""

    outcome: Added | None = None
    is_away = False
    meanwhile: Callable[[], Awaitable[object]] | None = None
    """What happens while it is asked whose alerts there are, and does not answer."""

    async def alerts(self, subject: Subject) -> list[Alert]:
        """Tell them, or not."""
        if self.meanwhile is None:
            return await super().alerts(subject)
        await self.meanwhile()
        msg = "away"
        raise StoreUnavailableError(msg)

    async def add(self, message: Message, over: int) -> Added:
        """Add it, or not."""
        if self.is_away:
            msg = "away"
            raise StoreUnavailableError(msg)
        return self.outcome or await super().add(message, over)


async def test_what_the_outbox_does_not_take_is_told_again() -> None:
    """Though nothing else is decided meanwhile."""
    outbox = Moody()
    async with world(outbox=outbox) as here:
        await here.alerting.create(PRO, WISH._replace(limit="requests/minute"))
        outbox.is_away = True
        await here.say("api_key=demo-pro", hits=80)
        assert not await here.watch.tell_all()
        outbox.is_away = False
        assert await here.told() == 1


async def test_what_is_used_meanwhile_takes_the_place_of_no_more() -> None:
    """A minute's crossing waits, though the next minute has begun with little."""
    outbox = Moody()
    async with world(outbox=outbox) as here:
        await here.alerting.create(PRO, WISH._replace(limit="requests/minute"))
        await here.say("api_key=demo-pro", hits=80)

        async def next_minute() -> None:
            here.clock.advance(60_000_000)
            await here.say("api_key=demo-pro")

        outbox.meanwhile = next_minute
        assert not await here.watch.tell_all()
        outbox.meanwhile = None
        assert await here.told() == 1


class Away(MemoryRecords):
    """A registry that does not answer."""

    async def get(self, subjects: Sequence[Subject]) -> list[Record | None]:
        """Not now."""
        msg = "away"
        raise StoreUnavailableError(msg)


async def test_a_key_of_which_nothing_is_known_yet_is_told_of_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The registry did not answer in time: what was crossed waits until it does."""
    async with world() as here, world(outbox=here.outbox) as other:
        await here.register("sk-cold", "free")
        subject = HASHER.key("sk-cold")
        await here.alerting.create((subject,), WISH._replace(limit="requests/minute"))
        await other.watch.read_feed()
        monkeypatch.setattr(other.known, "records", Away())
        await other.say("api_key=sk-cold", hits=8)
        assert not await other.watch.tell_all()
        monkeypatch.setattr(other.known, "records", here.known.records)
        other.known.changed([subject])
        assert await other.told() == 1


async def test_what_finds_no_room_is_due_with_a_later_call() -> None:
    """Not with each one: a full outbox is left alone for a second."""
    outbox = Moody()
    async with world(outbox=outbox) as here:
        await here.alerting.create(PRO, WISH._replace(limit="requests/minute"))
        outbox.outcome = Added.FULL
        for _ in range(5):
            await here.say("api_key=demo-pro", hits=18)
            assert await here.told() == 0
        assert here.counts[COUNTED, "full"] == 1
        outbox.outcome = None
        here.clock.advance(1_000_000)
        await here.say("api_key=demo-pro")
        assert await here.told() == 1


async def test_what_is_known_there_is_not_asked_again() -> None:
    """Another process was first."""
    outbox = Moody()
    async with world(outbox=outbox) as here:
        await here.alerting.create(PRO, WISH._replace(limit="requests/minute"))
        outbox.outcome = Added.KNOWN
        for _ in range(3):
            await here.say("api_key=demo-pro", hits=30)
            await here.told()
        assert here.counts[COUNTED, "known"] == 1


class Feed(SqliteOutbox):
    """An outbox whose feed can be away; says from which mark on it was asked."""

    is_away = False

    def __init__(self) -> None:
        super().__init__()
        self.asked: asyncio.Queue[int] = asyncio.Queue()

    async def changes(self, since: int) -> tuple[int, Sequence[Subject]]:
        """Tell of changes, or not."""
        self.asked.put_nowait(since)
        if self.is_away:
            msg = "away"
            raise StoreUnavailableError(msg)
        return await super().changes(since)


async def test_an_outbox_that_goes_away_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """And once when it is back, however often it was asked meanwhile: from the beginning then."""
    caplog.set_level(logging.INFO, logger="ratelimitd.alerts")
    outbox = Feed()
    async with world(outbox=outbox) as here:
        await here.alerting.create(PRO, WISH)
        await here.watch.start()
        for is_away in (True, False):
            outbox.is_away = is_away
            while not outbox.asked.empty():
                outbox.asked.get_nowait()
            marks = [await outbox.asked.get() for _ in range(4)]
            assert marks[-1] == (not is_away)
            assert 0 in marks
            assert here.watch.figures()["alerts_up"] == (not is_away)
        await here.watch.close()
    assert [record.message for record in caplog.records] == [
        "the outbox of alerts is away",
        "the outbox of alerts is back",
    ]


async def test_what_was_noted_last_is_told_when_the_process_ends() -> None:
    """A SIGTERM loses nothing."""
    async with world() as here:
        await here.watch.start()
        await here.alerting.create(PRO, WISH._replace(limit="requests/minute"))
        await here.say("api_key=demo-pro", hits=80)
        await here.watch.close()
        assert await here.outbox.waiting() == 1
        assert not here.watches()


async def test_a_reset_begins_no_new_event() -> None:
    """One window has one event, though its use fell below the threshold meanwhile."""
    async with world() as here:
        await here.alerting.create(PRO, WISH._replace(limit="requests/minute"))
        await here.say("api_key=demo-pro", hits=80)
        assert await here.told() == 1
        question = Question("agent-api", (describe("api_key=demo-pro", hits=80, negative=True),))
        await here.limiter.decide(question)
        await here.say("api_key=demo-pro", hits=90)
        assert await here.told() == 1
