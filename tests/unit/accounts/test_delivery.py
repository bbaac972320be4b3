"""Deliveries: signatures, pauses, bounds, and what becomes of each message."""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from functools import partial

import pytest

from ratelimitd.accounts import delivery
from ratelimitd.accounts.addresses import Destination
from ratelimitd.accounts.alerts import Alert, AlertType
from ratelimitd.accounts.delivery import (
    CLAIMED,
    COUNTED,
    EACH,
    EACH_KEY,
    FIRST,
    GIVE_UP,
    LONGEST,
    Courier,
    PostError,
    pause,
    route_of,
    signed,
)
from ratelimitd.accounts.outbox import Message
from ratelimitd.accounts.sealing import Hook, Sealer
from ratelimitd.accounts.sqlite_outbox import SqliteOutbox
from ratelimitd.clock import ManualClock
from ratelimitd.errors import StoreUnavailableError
from ratelimitd.model import Subject
from tests.support.ops import NEW_YEAR

EXAMPLE = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""The key of the example that implementations of Standard Webhooks are tried with."""


def test_the_signature_is_that_of_the_standard() -> None:
    """The published example: id, time and body, joined by dots."""
    headers = signed(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330_000_000, b'{"test": 2432232314}', EXAMPLE
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_pauses_double_and_are_spread() -> None:
    """From a second or two up to an hour, half of it by chance."""
    assert [pause(attempts, 1.0) for attempts in (1, 2, 3)] == [FIRST, 2 * FIRST, 4 * FIRST]
    assert pause(1, 0.0) == FIRST // 2
    assert pause(50, 1.0) == LONGEST
    assert pause(1000, 0.0) == LONGEST // 2


ANNA = Subject(b"a" * 16)
HOOK = Hook("https://hooks.example/", EXAMPLE)
SEALER = Sealer([b"a secret of the tests"])


class Outbox(SqliteOutbox):
    """An outbox that says when so many messages were dealt with."""

    def __init__(self, until: int, away: int = 0) -> None:
        super().__init__()
        self._left = until
        self._away = away
        """How many acknowledgements it does not answer first."""
        self.done = asyncio.Event()

    async def put_off(self, message: Message, due: int, state: str) -> None:
        """Put off, and count."""
        await super().put_off(message, due, state)
        self._count()

    async def acknowledge(self, message: Message, state: str) -> None:
        """Acknowledge, and count."""
        if self._away:
            self._away -= 1
            msg = "away"
            raise StoreUnavailableError(msg)
        await super().acknowledge(message, state)
        self._count()

    def _count(self) -> None:
        self._left -= 1
        if not self._left:
            self.done.set()


class Receiver:
    """Answers when it is told to."""

    def __init__(self, status: int = 204, why: str = "") -> None:
        self.begun: list[str] = []
        self.may_answer = asyncio.Event()
        self._status, self._why = status, why

    async def __call__(self, to: Destination, headers: Mapping[str, str], body: bytes) -> int:
        """See `delivery.Post`."""
        del to, body
        self.begun.append(headers["webhook-id"])
        await self.may_answer.wait()
        if self._why:
            raise PostError(self._why)
        return self._status


@contextlib.asynccontextmanager
async def delivering(
    post: Receiver, outbox: Outbox, *subjects: Subject, created: int = 0
) -> AsyncIterator[tuple[Courier, Counter[tuple[str, str]]]]:
    """Yield a courier with one message of each of some subjects' alerts."""
    counts, clock = Counter[tuple[str, str]](), ManualClock(NEW_YEAR)
    opened = partial(route_of, sealer=SEALER, allow_private=False)
    courier = Courier(outbox, post, opened, clock, counts=counts, chance=lambda: 0.0)
    await outbox.start()
    for number, subject in enumerate(subjects):
        alert = Alert(
            id=f"alert_{number}",
            subject=subject,
            type=AlertType.RATE_LIMIT,
            limit="",
            threshold=80,
            created=NEW_YEAR,
            sealed=SEALER.seal(f"alert_{number}", subject, HOOK),
        )
        await outbox.put(alert, 100)
        message = Message(f"msg_{number}", subject, alert.id, "{}", NEW_YEAR - created)
        await outbox.add(message, NEW_YEAR)
    courier.start()
    try:
        yield courier, counts
    finally:
        await courier.close()
        await outbox.close()


@pytest.mark.parametrize(
    ("status", "why", "age", "outcome"),
    [
        (204, "", 0, "delivered"),
        (200, "", GIVE_UP, "delivered"),
        (302, "", 0, "failed"),
        (500, "", 0, "failed"),
        (0, "timeout", 0, "failed"),
        (500, "", GIVE_UP, "given_up"),
        (410, "", 0, "given_up"),
    ],
)
async def test_what_becomes_of_a_message(status: int, why: str, age: int, outcome: str) -> None:
    """Only what failed is kept, for a later attempt; its owner reads of each."""
    post, outbox = Receiver(status, why), Outbox(1)
    post.may_answer.set()
    async with delivering(post, outbox, ANNA, created=age) as (_, counts):
        await outbox.done.wait()
        assert counts == {(COUNTED, outcome): 1}
        assert await outbox.waiting() == (outcome == "failed")
        (state,) = await outbox.states(["alert_0"])
        assert json.loads(state) == {
            "state": outcome,
            "at": NEW_YEAR,
            "attempts": 1,
            "status": status or None,
            "error": why,
        }


async def test_an_answer_is_recorded_though_the_outbox_was_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise the message would come twice."""
    monkeypatch.setattr(delivery, "_AGAIN", (0, 0))
    post, outbox = Receiver(), Outbox(1, away=2)
    post.may_answer.set()
    async with delivering(post, outbox, ANNA) as (_, counts):
        await outbox.done.wait()
        assert await outbox.waiting() == 0
        assert counts == {(COUNTED, "delivered"): 1}


async def test_one_host_has_so_many_posts_at_once() -> None:
    """The others are put off, and are no attempts."""
    many = 3 * EACH
    post, outbox = Receiver(), Outbox(many - EACH)
    subjects = [Subject(bytes([number]) * 16) for number in range(many)]
    async with delivering(post, outbox, *subjects) as (_, counts):
        await outbox.done.wait()
        assert len(post.begun) == EACH
        assert not counts
        assert await outbox.waiting() == many


async def test_one_key_has_so_many_posts_at_once() -> None:
    """Whatever it lets others wait for."""
    many = 2 * EACH_KEY
    post, outbox = Receiver(), Outbox(many - EACH_KEY)
    async with delivering(post, outbox, *[ANNA] * many):
        await outbox.done.wait()
        assert len(post.begun) == EACH_KEY


@pytest.mark.parametrize("grace", [60.0, 0.0])
async def test_a_courier_that_ends_lets_posts_end_for_a_while(grace: float) -> None:
    """What ended in time is not posted again; the rest is, once its claim is over."""
    post, outbox = Receiver(), Outbox(1)
    async with delivering(post, outbox, ANNA) as (courier, counts):
        while not post.begun:
            await outbox.waiting()
        if grace:
            closing = asyncio.create_task(courier.close(grace))
            await outbox.waiting()
            post.may_answer.set()
            await closing
        else:
            await courier.close()
        assert counts[COUNTED, "delivered"] == bool(grace)
        assert await outbox.waiting() == (not grace)
        later = NEW_YEAR + CLAIMED
        assert len(await outbox.claim(later, later, 10)) == (not grace)


async def test_an_alert_that_nobody_can_open_is_given_up() -> None:
    """Its secret is gone, or what it leads to is not allowed any more."""
    post, outbox = Receiver(), Outbox(1)
    async with delivering(post, outbox) as (_, counts):
        sealed = SEALER.seal("alert_1", ANNA, HOOK._replace(url="http://127.0.0.1/"))
        alert = Alert(
            id="alert_1",
            subject=ANNA,
            type=AlertType.RATE_LIMIT,
            limit="",
            threshold=1,
            created=1,
            sealed=sealed,
        )
        await outbox.put(alert, 1)
        await outbox.add(Message("msg_1", ANNA, alert.id, "{}", 1), NEW_YEAR)
        await outbox.done.wait()
        assert counts == {(COUNTED, "dropped"): 1}
        assert not post.begun
        (state,) = await outbox.states(["alert_1"])
        assert json.loads(state)["state"] == "given_up"
