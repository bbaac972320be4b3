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
import logging
import random
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from ratelimitd.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ratelimitd.accounts.addresses import Destination
    from ratelimitd.accounts.alerts import Alert
    from ratelimitd.accounts.outbox import Message, Outbox
    from ratelimitd.clock import Clock

_LOG = logging.getLogger("ratelimitd.alerts")

PREFIX: Final = "whsec_"
"""Begins every signing secret; base64 follows."""
AT_ONCE: Final = 64
"""Posts under way."""
EACH: Final = 8
"""Posts under way to one host; what is over waits for a moment, as no attempt."""
CLAIMED: Final = 30_000_000
"""Microseconds after which a claimed message is due again: its claimer must have died."""
FIRST, LONGEST = 2_000_000, 3_600_000_000
"""Microseconds between attempts: doubled each time up to the longest, half of it by chance."""
GIVE_UP: Final = 12 * 3_600_000_000
"""Microseconds after which a message is no longer tried."""
GONE: Final = 410
"""The status by which a receiver asks for nothing more."""
_PAUSE = 0.25
_CROWDED = 500_000
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


class Courier:
    """Delivers an outbox. Several may share one."""

    def __init__(
        self,
        outbox: Outbox,
        post: Post,
        opened: Callable[[Alert], Route | None],
        clock: Clock,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Deliver what is in `outbox`; `opened` tells where to, or None where nobody can know."""
        self._outbox = outbox
        self._post = post
        self._opened = opened
        self._clock = clock
        self._chance = chance
        self._busy: Counter[str] = Counter()
        self._posts: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self.counts: Counter[str] = Counter()
        """Messages by what became of them: delivered, failed, given_up, dropped."""

    def start(self) -> None:
        """Begin to deliver."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Post no more; what is under way is posted again by the next courier."""
        tasks = [*self._posts, *([self._task] if self._task else [])]
        self._task = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            free = AT_ONCE - len(self._posts)
            claimed: list[Message] = []
            if free:
                now = self._clock()
                with contextlib.suppress(StoreError):
                    claimed = await self._outbox.claim(now, now + CLAIMED, free)
            for message in claimed:
                task = asyncio.create_task(self._deliver(message))
                self._posts.add(task)
                task.add_done_callback(self._posts.discard)
            if len(claimed) < free or not free:
                waits = [asyncio.ensure_future(asyncio.sleep(_PAUSE)), *self._posts]
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                waits[0].cancel()

    async def _deliver(self, message: Message) -> None:
        """Post a message once, and say in the outbox what came of it."""
        try:
            alerts = await self._outbox.alerts(message.subject)
            alert = next((each for each in alerts if each.id == message.alert), None)
            route = None if alert is None else self._opened(alert)
            if route is None:  # removed meanwhile, or sealed with a secret that is gone
                self.counts["dropped"] += 1
                await self._outbox.acknowledge(message, "")
            elif self._busy[route.to.host] >= EACH:
                due = self._clock() + _CROWDED + int(self._chance() * _CROWDED)
                await self._outbox.put_off(message, due, "")
            else:
                await self._try(message, route)
        except StoreError as error:  # it is due again when its claim ends
            _LOG.warning("the outbox does not answer", extra={"why": str(error)})

    async def _try(self, message: Message, route: Route) -> None:
        body, now, host = message.body.encode(), self._clock(), route.to.host
        self._busy[host] += 1
        status = 0
        why = ""
        try:
            headers = signed(message.id, now, body, route.secret)
            status = await self._post(route.to, headers, body)
        except PostError as error:
            why = str(error)
        finally:
            self._busy[host] -= 1
            if not self._busy[host]:
                del self._busy[host]
        tried = message._replace(attempts=message.attempts + 1)
        if status in _TAKEN:
            outcome = "delivered"
        elif status == GONE or now - message.created >= GIVE_UP:
            outcome = "given_up"
        else:
            outcome = "failed"
        self.counts[outcome] += 1
        said = {"state": outcome, "at": now, "attempts": tried.attempts, "status": status or None}
        state = json.dumps(said | ({"error": why} if why else {}))
        if outcome == "failed":
            due = self._clock() + pause(tried.attempts, self._chance())
            await self._outbox.put_off(tried, due, state)
        else:
            await self._outbox.acknowledge(tried, state)
