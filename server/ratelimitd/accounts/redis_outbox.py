"""The outbox in Redis, shared by a fleet. Keys of a prefix of their own.

    rla1:{alerts}:of:SUBJECT  hash: alert's id to alert; SUBJECT is a keyed hash, hexadecimal
    rla1:{alerts}:feed        sorted set: subject by the number of its last change (:number)
    rla1:{alerts}:messages    hash: id to message; :due, sorted set: id by when it is due
    rla1:{alerts}:waiting     hash: subject to how many messages of its wait
    rla1:{alerts}:states      hash: alert's id to how its last delivery went
    rla1:{alerts}:id:ID       that a message was added; the only keys that end by themselves

They share a slot, so that every change is one atomic script.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Final

from ratelimitd.accounts.outbox import (
    MOST_OF_KEY,
    MOST_WAITING,
    Added,
    Message,
    alert_text,
    message_text,
    read_alert,
    read_messages,
)
from ratelimitd.accounts.redis_slot import RedisSlot
from ratelimitd.model import Subject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratelimitd.accounts.alerts import Alert
    from ratelimitd.stores.redis.servers import Servers

PREFIX: Final = "rla1:{alerts}:"
"""Begins every key of alerts and messages."""
_FEED, _NUMBER, _MESSAGES, _DUE, _STATES, _WAITING = (
    PREFIX + name for name in ("feed", "number", "messages", "due", "states", "waiting")
)
_PAGE = "1001"  # one of which is the mark itself
_LEAST_MS = 1_000
_OUTCOMES = {1: Added.ADDED, 0: Added.KNOWN, -1: Added.FULL}
_SCRIPTS = {
    name: (files("ratelimitd.accounts") / "lua" / f"outbox_{name}.lua").read_text()
    for name in ("put", "remove", "add", "claim", "done")
}


class RedisOutbox:
    """See `outbox.Outbox`."""

    def __init__(
        self, servers: Servers, *, room: int = MOST_WAITING, of_key: int = MOST_OF_KEY
    ) -> None:
        """Keep everything on `servers`, this outbox's own connections.

        At most `room` messages wait, and `of_key` of one key.
        """
        self._servers = servers
        self._slot = RedisSlot(servers, PREFIX, "outbox")
        self._rooms = str(room), str(of_key)

    async def start(self) -> None:
        """See `Outbox.start`."""
        await self._servers.start()

    async def close(self) -> None:
        """See `Outbox.close`."""
        await self._servers.close()

    async def put(self, alert: Alert, most: int) -> bool:
        """See `Outbox.put`."""
        keys = (_of(alert.subject), _FEED, _NUMBER)
        values = (alert.id, alert_text(alert), str(most), alert.subject)
        return bool(await self._slot.run(_SCRIPTS["put"], keys, *values))

    async def remove(self, subject: Subject, alert: str) -> bool:
        """See `Outbox.remove`."""
        keys = (_of(subject), _FEED, _NUMBER, _STATES)
        return bool(await self._slot.run(_SCRIPTS["remove"], keys, alert, subject))

    async def alerts(self, subject: Subject) -> list[Alert]:
        """See `Outbox.alerts`."""
        flat = await self._slot.ask("HGETALL", _of(subject))
        pairs = zip(flat[::2], flat[1::2], strict=True)
        read = (read_alert(subject, number.decode(), body) for number, body in pairs)
        return sorted(filter(None, read), key=lambda alert: (alert.created, alert.id))

    async def changes(self, since: int) -> tuple[int, Sequence[Subject]]:
        """See `Outbox.changes`."""
        limit = ("WITHSCORES", "LIMIT", "0", _PAGE)
        told = await self._slot.ask("ZRANGEBYSCORE", _FEED, str(since), "+inf", *limit)
        if since and not told:  # a replica that knew less has taken over, or all is gone
            told = await self._slot.ask("ZRANGEBYSCORE", _FEED, "1", "+inf", *limit)
            return (int(told[-1]) if told else 0), [Subject(each) for each in told[::2]]
        if told and int(told[1]) == since:
            told = told[2:]
        return (int(told[-1]) if told else since), [Subject(each) for each in told[::2]]

    async def add(self, message: Message, over: int) -> Added:
        """See `Outbox.add`."""
        known_ms = max(_LEAST_MS, -(-(over - message.created) // 1000))
        keys = (f"{PREFIX}id:{message.id}", _MESSAGES, _DUE, _WAITING)
        due, lasting = str(message.created), str(known_ms)
        kept = (message.id, message_text(message), due, lasting, message.subject)
        values = (*kept, *self._rooms)
        return _OUTCOMES[await self._slot.run(_SCRIPTS["add"], keys, *values)]

    async def claim(self, now: int, until: int, most: int) -> list[Message]:
        """See `Outbox.claim`."""
        values = (str(now), str(until), str(most))
        claimed = await self._slot.run(_SCRIPTS["claim"], (_MESSAGES, _DUE), *values)
        return read_messages(claimed)

    async def put_off(self, message: Message, due: int, state: str) -> None:
        """See `Outbox.put_off`."""
        await self._done(message, str(due), state)

    async def acknowledge(self, message: Message, state: str) -> None:
        """See `Outbox.acknowledge`."""
        await self._done(message, "", state)

    async def _done(self, message: Message, due: str, state: str) -> None:
        keys = (_MESSAGES, _DUE, _STATES, _of(message.subject), _WAITING)
        values = (message.id, message_text(message), due, message.alert, state, message.subject)
        await self._slot.run(_SCRIPTS["done"], keys, *values)

    async def states(self, alerts: Sequence[str]) -> list[str]:
        """See `Outbox.states`."""
        if not alerts:
            return []
        return [(said or b"").decode() for said in await self._slot.ask("HMGET", _STATES, *alerts)]

    async def waiting(self) -> int:
        """See `Outbox.waiting`."""
        return int(await self._slot.ask("ZCARD", _DUE))


def _of(subject: bytes) -> str:
    return f"{PREFIX}of:{subject.hex()}"
