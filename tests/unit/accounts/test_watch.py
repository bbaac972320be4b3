"""Which thresholds are reached, from the results of decisions."""

import json

from ratelimitd.accounts.alerting import Wish
from ratelimitd.accounts.alerts import HOUR
from ratelimitd.accounts.watch import COUNTED
from ratelimitd.model import Question
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
