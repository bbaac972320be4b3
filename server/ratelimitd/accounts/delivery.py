"""Delivery: what waits in the outbox is signed, posted, and tried again until it is taken.

Owns when and how often, and how much at once; how it is posted is a `Post`'s. At least once: what
is posted and not yet acknowledged when the process dies is posted again, with the same id. Headers
and signature are those of Standard Webhooks.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import json
import random
from collections import Counter as Tally
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from ratelimitd.accounts.addresses import read_url
from ratelimitd.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ratelimitd.accounts.addresses import Destination
    from ratelimitd.accounts.alerts import Alert
    from ratelimitd.accounts.outbox import Message, Outbox
    from ratelimitd.accounts.sealing import Sealer
    from ratelimitd.clock import Clock

PREFIX: Final = "whsec_"
"""Begins every signing secret; base64 follows."""
AT_ONCE: Final = 64
"""Posts under way."""
EACH: Final = 8
"""Posts under way to one host; what is over waits for a moment, as no attempt."""
EACH_KEY: Final = 4
"""Posts under way of one key, whatever the hosts: names are free."""
CLAIMED: Final = 20_000_000
"""Microseconds after which a claimed message is due again: its claimer must have died."""
FIRST, LONGEST = 2_000_000, 3_600_000_000
"""Microseconds between attempts: doubled each time up to the longest, half of it by chance."""
GIVE_UP: Final = 12 * 3_600_000_000
"""Microseconds after which a message is no longer tried."""
GONE: Final = 410
"""The status by which a receiver asks for nothing more."""
COUNTED: Final = "alert_messages"
"""The metric: messages by what became of an attempt: delivered, failed, given_up, dropped."""
_PAUSE = 0.25
_AGAIN = (0.5, 1.0, 2.0, 4.0)  # seconds between trying to record an answer; claims last longer
_FEW, _STEP = 2, 0.005
"""Messages that are begun at a time, and seconds until the next: decisions come in between."""
_GAP = 5_000  # microseconds between the turns of messages that wait for a crowded host
_LONGEST_QUEUE = 10_000_000
_TAKEN = range(200, 300)


class PostError(Exception):
    """Expected: a post without an answer. Says in one word why; its receiver's owner must act."""


class Post(Protocol):
    """Posts once."""

    async def __call__(self, to: Destination, headers: Mapping[str, str], body: bytes) -> int:
        """Return the answer's status. Raises `PostError`."""
        ...


class Route(NamedTuple):
    """Where an alert's events go, in the clear."""

    to: Destination
    secret: str
    """`whsec_…`."""


def signed(message_id: str, now: int, body: bytes, secret: str) -> dict[str, str]:
    """Return the headers of Standard Webhooks."""
    stamp = str(now // 1_000_000)
    key = base64.b64decode(secret.removeprefix(PREFIX))
    digest = hmac.digest(key, f"{message_id}.{stamp}.".encode() + body, "sha256")
    signature = base64.b64encode(digest).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{signature}",
    }


def pause(attempts: int, chance: float) -> int:
    """Return the microseconds until the next attempt after so many; `chance` is within 0..1."""
    whole = min(LONGEST, FIRST << min(attempts - 1, 20))
    return whole // 2 + int(whole // 2 * chance)


def route_of(alert: Alert, sealer: Sealer, *, allow_private: bool) -> Route | None:
    """Return where an alert's events go; None where its secret is gone, or it may not go there."""
    hook = sealer.open(alert.id, alert.subject, alert.sealed)
    try:
        return hook and Route(read_url(hook.url, allow_private=allow_private), hook.secret)
    except ValueError:
        return None


class Courier:
    """Delivers an outbox. Several may share one."""

    def __init__(
        self,
        outbox: Outbox,
        post: Post,
        opened: Callable[[Alert], Route | None],
        clock: Clock,
        *,
        counts: Tally[tuple[str, str]],
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Deliver what is in `outbox`; `opened` tells where to, or None where nobody can know.

        `counts` is `Telemetry.counts`.
        """
        self._outbox = outbox
        self._post = post
        self._opened = opened
        self._clock = clock
        self._counts = counts
        self._chance = chance
        self._busy: Tally[str | bytes] = Tally()
        """Posts under way, by host and by subject."""
        self._slots: dict[str | bytes, int] = {}
        """When the last message is due that was put off, by the host or subject that is crowded."""
        self._posts: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to deliver."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="ratelimitd-courier")

    async def close(self, grace: float = 0) -> None:
        """Begin no more posts; those under way have `grace` seconds, then they are due again."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait((task,))
        if self._posts and grace > 0:
            await asyncio.wait(self._posts, timeout=grace)
        for post in self._posts:
            post.cancel()
        await asyncio.gather(*self._posts, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            few = min(_FEW, AT_ONCE - len(self._posts))
            claimed = await self._claimed(few) if few else []
            for message in claimed:
                post = asyncio.create_task(self._deliver(message))
                self._posts.add(post)
                post.add_done_callback(self._posts.discard)
            if not few:
                await asyncio.wait(self._posts, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(_STEP if len(claimed) == few else _PAUSE)

    async def _claimed(self, most: int) -> list[Message]:
        now = self._clock()
        try:
            return await self._outbox.claim(now, now + CLAIMED, most)
        except StoreError:  # whoever reads the feed tells of it
            return []

    async def _deliver(self, message: Message) -> None:
        """Post a message once, and say in the outbox what came of it."""
        with contextlib.suppress(StoreError):  # it is due again when its claim ends
            alerts = await self._outbox.alerts(message.subject)
            alert = next((each for each in alerts if each.id == message.alert), None)
            route = None if alert is None else self._opened(alert)
            if alert is None or route is None:
                self._count("dropped")
                await self._outbox.acknowledge(message, self._state(message, "given_up", "refused"))
            elif self._busy[route.to.host] >= EACH:
                await self._outbox.put_off(message, self._slot(route.to.host), "")
            elif self._busy[message.subject] >= EACH_KEY:
                await self._outbox.put_off(message, self._slot(message.subject), "")
            else:
                await self._try(message, route)

    def _slot(self, crowded: str | bytes) -> int:
        """Return when there may be room for one more message to a host, or of a subject."""
        now = self._clock()
        due = min(max(now, self._slots.get(crowded, 0)) + _GAP, now + _LONGEST_QUEUE)
        self._slots[crowded] = due
        return due

    async def _try(self, message: Message, route: Route) -> None:
        body, now, host = message.body.encode(), self._clock(), route.to.host
        self._busy.update((host, message.subject))
        status, why = 0, ""
        try:
            headers = signed(message.id, now, body, route.secret)
            status = await self._post(route.to, headers, body)
        except PostError as error:
            why = str(error)
        finally:
            self._over(host, message.subject)
        tried = message._replace(attempts=message.attempts + 1)
        if status in _TAKEN:
            outcome = "delivered"
        elif status == GONE or now - message.created >= GIVE_UP:
            outcome = "given_up"
        else:
            outcome = "failed"
        self._count(outcome)
        state = self._state(tried, outcome, why, status)
        for wait in _AGAIN:
            with contextlib.suppress(StoreError):
                await self._record(tried, outcome, state)
                return
            await asyncio.sleep(wait)
        await self._record(tried, outcome, state)

    async def _record(self, tried: Message, outcome: str, state: str) -> None:
        if outcome == "failed":
            due = self._clock() + pause(tried.attempts, self._chance())
            await self._outbox.put_off(tried, due, state)
        else:
            await self._outbox.acknowledge(tried, state)

    def _state(self, message: Message, outcome: str, why: str, status: int = 0) -> str:
        """Return what is kept of an attempt, if the alert is."""
        said = {"state": outcome, "at": self._clock(), "attempts": message.attempts}
        return json.dumps(said | {"status": status or None, "error": why})

    def _over(self, host: str, subject: bytes) -> None:
        """Let the next one post to this host, and of this key."""
        self._busy.subtract((host, subject))
        for each in (host, subject):
            if not self._busy[each]:
                del self._busy[each]
                self._slots.pop(each, None)

    def _count(self, outcome: str) -> None:
        self._counts[COUNTED, outcome] += 1
