"""What becomes of what decisions tell while the outbox, or the registry, does not answer."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

import pytest

from ratelimitd.accounts import watch
from ratelimitd.accounts.alerting import Wish
from ratelimitd.accounts.alerts import Alert
from ratelimitd.accounts.memory_records import MemoryRecords
from ratelimitd.accounts.outbox import Added, Message
from ratelimitd.accounts.record import Record
from ratelimitd.accounts.sqlite_outbox import SqliteOutbox
from ratelimitd.accounts.watch import COUNTED
from ratelimitd.errors import StoreUnavailableError
from ratelimitd.model import Subject
from ratelimitd.policy.spec import Tier
from tests.support.alerts import world
from tests.support.ops import MINUTELY, fixed
from tests.support.policies import HASHER, agent_api

PRO = (HASHER.key("demo-pro"),)
WISH = Wish("rate_limit", 80, "https://hooks.example/")


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


async def test_so_many_counters_wait_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while some are told: what comes beyond is counted, and due with a later call."""
    monkeypatch.setattr(watch, "MOST", 1)
    outbox = Moody()
    policy = agent_api(tiers={"pro": Tier(name="pro", limits=(fixed(60, MINUTELY),))})
    async with world(policy, outbox=outbox) as here:
        await here.register("sk-late")
        for subjects in (PRO, (HASHER.key("sk-late"),)):
            await here.alerting.create(subjects, WISH)
        await here.say("api_key=demo-pro", hits=50)
        outbox.meanwhile = lambda: here.say("api_key=sk-late", hits=50)
        assert not await here.watch.tell_all()
        outbox.meanwhile = None
        assert here.counts[COUNTED, "dropped"] == 1
        assert await here.told() == 1
        await here.say("api_key=sk-late")
        assert await here.told() == 2


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
