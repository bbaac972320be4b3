"""Alerts from the decision to the receiver, through real limiters: signed, once, and never lost."""

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.support.hooks import (
    DAY,
    FLAGS,
    LIMIT,
    PATIENT,
    THRESHOLD,
    WITHIN,
    customer,
    policy_text,
    receiver,
    survive,
    until_watched,
    use,
)
from tests.e2e.support.limiter import AS_SHIPPED, run_limiter
from tests.e2e.support.waiting import room_in_window, wait_until
from tests.support.redis.server import Server

MANY = 1_000
SOME = 40
CARELESS = f"""
from ratelimitd.accounts import delivery
delivery._TAKEN = range(600)
{AS_SHIPPED}
"""
FORGETFUL = f"""
import os
from ratelimitd.accounts import alerts
from hashlib import blake2b
alerts.blake2b = lambda named, **size: blake2b(named + os.urandom(8), **size)
{AS_SHIPPED}
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A policy with many keys."""
    path = tmp_path / "policy.yaml"
    path.write_text(policy_text(MANY))
    return path


@pytest.fixture(params=["redis", "file"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store that outlives a process."""
    if request.param == "file":
        return f"file:{tmp_path / 'counts.db'}"
    server: Server = request.getfixturevalue("redis_server")
    return server.url


async def test_a_thousand_alerts_at_once_arrive_signed_and_once(
    redis_server: Server, policy: Path
) -> None:
    """Through two limiters, each of which sees every key cross its threshold."""
    keys = [f"key-{number}" for number in range(MANY)]
    url = redis_server.url
    async with (
        run_limiter(policy, store=url, flags=FLAGS) as one,
        run_limiter(policy, store=url, flags=FLAGS) as other,
        customer(policy, url) as anna,
        receiver() as hooks,
    ):
        for key in keys:
            await anna.wish(key, hooks)
        await until_watched([one, other], MANY)
        await room_in_window(DAY, WITHIN)
        await use(one, keys, LIMIT - 1)
        await use(other, keys, 1)
        await wait_until(lambda: len(hooks.got) >= MANY, description="all arrive", within=WITHIN)
        sent = [(await each.figures()) for each in (one, other)]

    assert all(hook.is_genuine for hook in hooks.got)
    assert Counter(hook.path for hook in hooks.got) == {f"/{key}/{THRESHOLD}": 1 for key in keys}
    assert len({hook.id for hook in hooks.got}) == MANY
    data = json.loads(hooks.got[0].body)["data"]
    assert (data["meter"], data["window"], data["limit"]) == ("requests", "day", LIMIT)
    assert all(each["alerts_keys"] == MANY for each in sent)


async def test_nothing_is_lost_while_nobody_receives_and_nobody_sends(
    place: str, policy: Path
) -> None:
    """The receiver fails and then is gone, the limiter is killed: the same ids, once."""
    await survive(place, policy, [f"key-{number}" for number in range(SOME)])


async def test_a_message_that_is_lost_would_be_found(redis_server: Server, policy: Path) -> None:
    """Planted: whatever a receiver answers, the message is taken for delivered."""
    with pytest.raises(AssertionError, match="all arrive"):
        await survive(redis_server.url, policy, ["key-0"], patience=5.0, program=CARELESS)


async def test_an_event_that_is_told_twice_would_be_found(
    redis_server: Server, policy: Path
) -> None:
    """Planted: each process has ids of its own for the same event."""
    url = redis_server.url
    async with (
        run_limiter(policy, store=url, flags=FLAGS, program=FORGETFUL) as one,
        run_limiter(policy, store=url, flags=FLAGS, program=FORGETFUL) as other,
        customer(policy, url) as anna,
        receiver() as hooks,
    ):
        await anna.wish("key-0", hooks)
        await until_watched([one, other], 1)
        await room_in_window(DAY, WITHIN)
        await use(one, ["key-0"], LIMIT - 1)
        await use(other, ["key-0"], 1)
        await wait_until(lambda: len(hooks.got) > 1, description="it comes twice", within=WITHIN)


async def test_a_removed_alert_is_not_told(redis_server: Server, policy: Path) -> None:
    """The key's other alert still is."""
    url = redis_server.url
    async with (
        run_limiter(policy, store=url, flags=FLAGS) as limiter,
        customer(policy, url) as anna,
        receiver() as hooks,
    ):
        removed = await anna.wish("key-1", hooks, 50)
        await anna.wish("key-1", hooks, 90)
        await until_watched([limiter], 1)
        await anna.remove("key-1", removed)
        await room_in_window(DAY, WITHIN)
        await use(limiter, ["key-1"], LIMIT)
        await wait_until(lambda: bool(hooks.got), description="the other", within=WITHIN)

    assert [hook.path for hook in hooks.got] == ["/key-1/90"]


async def test_private_addresses_are_refused_by_default(redis_server: Server, policy: Path) -> None:
    """An alert that was made when they were allowed leads nowhere now."""
    url = redis_server.url
    async with (
        run_limiter(policy, store=url, flags=PATIENT) as limiter,
        customer(policy, url) as anna,
        receiver() as hooks,
    ):
        await anna.wish("key-1", hooks)
        await until_watched([limiter], 1)
        await room_in_window(DAY, WITHIN)
        await use(limiter, ["key-1"], LIMIT)

        async def dropped() -> bool:
            return (await limiter.figures()).get("alert_messages_total") == 1

        await wait_until(dropped, description="it is dropped", within=WITHIN)
        text = await limiter.metrics()

    assert 'ratelimitd_alert_messages_total{outcome="dropped"} 1.0' in text
    assert not hooks.got
