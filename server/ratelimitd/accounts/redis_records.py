"""Records in Redis, shared by a fleet. Keys of a prefix of their own, without a lifetime.

    rlk1:{keys}:records   hash: subject to version and record
    rlk1:{keys}:versions  sorted set: subject by the version of its last change, which is the feed
    rlk1:{keys}:index     sorted set: subjects in their order, for pages
    rlk1:{keys}:tiers     sorted set: tier, a zero byte and subject, for pages of a tier
    rlk1:{keys}:version   the last version
    rlk1:{keys}:origin    which registry this is

They share a slot, so that a change is one atomic script. Servers that would evict them are refused.
"""

from __future__ import annotations

import asyncio
import secrets
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from ratelimitd.accounts.record import dumps, loads
from ratelimitd.accounts.records import MOST_CHANGES, Changes, Mark, Page
from ratelimitd.accounts.redis_slot import RedisSlot
from ratelimitd.errors import SettingsError
from ratelimitd.model import Subject
from ratelimitd.stores.redis.connection import packed
from ratelimitd.stores.redis.servers import ask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratelimitd.accounts.record import Record
    from ratelimitd.stores.redis.servers import Servers

PREFIX: Final = "rlk1:{keys}:"
"""Begins every key of records."""
SILENCE: Final = 1.0
"""Seconds that Redis may be silent before a command has failed."""
_BODIES, _VERSIONS, _INDEX, _VERSION, _ORIGIN, _TIERS = (
    PREFIX + name for name in ("records", "versions", "index", "version", "origin", "tiers")
)
_PUT = (files("ratelimitd.accounts") / "lua" / "put.lua").read_text()
_AT_ONCE = 100  # commands under way, or records of one: decisions wait behind them


class RedisRecords:
    """See `records.Records`."""

    is_lasting = True
    is_instant = False

    def __init__(self, servers: Servers) -> None:
        """Keep records on `servers`, which are this registry's own connections."""
        self._servers = servers
        self._slot = RedisSlot(servers, PREFIX, "registry")

    async def start(self) -> None:
        """See `Records.start`."""
        await self._servers.start()
        for node in self._servers.nodes:
            policy = _eviction(await ask(node.send, packed(("INFO", "memory"))))
            if policy.startswith("allkeys"):
                msg = (
                    f"--registry: this Redis evicts keys when memory is out ({policy}), and with "
                    "them the records of API keys; set maxmemory-policy to noeviction or to "
                    "volatile-ttl, or name another registry"
                )
                raise SettingsError(msg)

    async def close(self) -> None:
        """See `Records.close`."""
        await self._servers.close()

    async def get(self, subjects: Sequence[Subject]) -> list[Record | None]:
        """See `Records.get`."""
        told: list[Record | None] = []
        for first in range(0, len(subjects), _AT_ONCE):
            some = subjects[first : first + _AT_ONCE]
            bodies = await self._slot.ask("HMGET", _BODIES, *some)
            pairs = zip(some, bodies, strict=True)
            told += [body if body is None else _loaded(subject, body) for subject, body in pairs]
        return told

    async def put(self, records: Sequence[Record]) -> list[int]:
        """See `Records.put`."""
        told: list[int] = []
        for first in range(0, len(records), _AT_ONCE):
            told += await asyncio.gather(*map(self._put, records[first : first + _AT_ONCE]))
        return told

    async def _put(self, record: Record) -> int:
        names = (_BODIES, _VERSIONS, _INDEX, _VERSION, _ORIGIN, _TIERS)
        new = (dumps(record), secrets.token_hex(8), record.tier)
        values = (record.subject, str(record.version), *new)
        version: int = await self._slot.run(_PUT, names, *values)
        return version

    async def page(self, after: bytes, most: int, tier: str = "") -> Page:
        """See `Records.page`."""
        first, last, index, before = b"(" + after if after else b"-", b"+", _INDEX, 0
        if tier:
            index, before = _TIERS, len(tier.encode()) + 1
            first, last = b"(%b\0%b" % (tier.encode(), after), b"(%b\1" % tier.encode()
        told = await self._slot.ask("ZRANGEBYLEX", index, first, last, "LIMIT", "0", str(most))
        subjects = [Subject(each[before:]) for each in told]
        found = filter(None, await self.get(subjects))
        wanted = [record for record in found if tier in {"", record.tier}]
        return Page(wanted, subjects[-1] if len(subjects) == most else b"")

    async def watch(self, mark: Mark) -> Changes:
        """See `Records.watch`.

        A connection that was made anew may lead to a server that lacks the last changes, whose
        versions will be given again: then anything may have changed.
        """
        connections = sum(node.connects for node in self._servers.nodes)
        name = await self._slot.ask("GET", _ORIGIN)
        origin = b"%d:%b" % (connections, name or b"")
        if origin != mark.origin:
            latest = await self._slot.ask("GET", _VERSION)
            return Changes(Mark(int(latest or 0), origin), (), lost=True)
        since = f"({mark.version}"
        limit = ("WITHSCORES", "LIMIT", "0", str(MOST_CHANGES))
        told = await self._slot.ask("ZRANGEBYSCORE", _VERSIONS, since, "+inf", *limit)
        if not told:
            return Changes(mark, ())
        return Changes(Mark(int(told[-1]), origin), list(map(Subject, told[::2])))


def _loaded(subject: bytes, body: bytes) -> Record:
    version, _, text = body.partition(b" ")
    return loads(subject, int(version), text)


def _eviction(info: object) -> str:
    """Return the eviction policy that INFO tells; empty where it may not be asked."""
    text = info.decode("utf-8", "replace") if isinstance(info, bytes) else str(info)
    lines = (line.partition(":") for line in text.splitlines())
    return next((said.strip() for name, _, said in lines if name == "maxmemory_policy"), "")
