"""Receivers of alerts, and alerts for them: what a customer has, over a limiter's own outbox."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

import grpc.aio
from standardwebhooks import Webhook

from ratelimitd._gen.envoy.service.ratelimit.v3.rls_pb2 import RateLimitRequest, RateLimitResponse
from ratelimitd.accounts.alerting import Alerting, Wish
from ratelimitd.accounts.known import KnownKeys
from ratelimitd.accounts.memory_records import MemoryRecords
from ratelimitd.accounts.opening import open_outbox
from ratelimitd.accounts.sealing import Sealer
from ratelimitd.clock import SystemClock
from ratelimitd.keys import DEVELOPMENT_SECRET, Hasher
from ratelimitd.policy.load import load
from ratelimitd.policy.matcher import Matcher
from tests.e2e.support.limiter import AS_SHIPPED, METHOD, Limiter, run_limiter
from tests.e2e.support.waiting import room_in_window, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from ratelimitd.accounts.outbox import Outbox

LIMIT: Final = 10
"""Requests a day of each key."""
THRESHOLD: Final = 80
DAY: Final = 86_400.0
PATIENT: Final = ("--store-timeout", "5s")
"""What is decided without the store is nobody's event: here the store is waited for."""
FLAGS: Final = ("--allow-private-webhooks", *PATIENT)
WITHIN: Final = 60.0
"""Seconds: generous, for machines that do something else beside."""
_UNDER_WAY: Final = 50


def policy_text(keys: int) -> str:
    """Return a policy with keys `key-0`, `key-1` and so on."""
    known = "".join(f"  - {{key: key-{number}, tier: free}}\n" for number in range(keys))
    head = "domain: agent-api\nsubject: {entry: api_key, default_tier: free}\n"
    return f"{head}tiers: {{free: {{requests: {LIMIT}/day}}}}\nkeys:\n{known}"


class Hook(NamedTuple):
    """A webhook that came."""

    path: str
    id: str
    is_genuine: bool
    """Whether the receiver's own library says so."""
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes


@dataclasses.dataclass
class Receiver:
    """Answers webhooks, on one port for its whole life."""

    port: int = 0
    status: int = 204
    got: list[Hook] = dataclasses.field(default_factory=list)
    secrets: dict[str, str] = dataclasses.field(default_factory=dict)
    """By path."""
    _server: asyncio.Server | None = None

    def url(self, path: str) -> str:
        """Return the URL of a path."""
        return f"http://127.0.0.1:{self.port}{path}"

    async def up(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def down(self) -> None:
        """Refuse connections."""
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            request, *lines = head.rstrip().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines)
            body = await reader.readexactly(int(headers["content-length"]))
            self.got.append(self._read(request.split()[1], headers, body))
            writer.write(b"HTTP/1.1 %d X\r\n\r\n" % self.status)
            await writer.drain()
        writer.close()

    def _read(self, path: str, headers: dict[str, str], body: bytes) -> Hook:
        try:
            Webhook(self.secrets[path]).verify(body, headers)
        except Exception:  # noqa: BLE001 - its kinds are the library's
            return Hook(
                path, headers.get("webhook-id", ""), is_genuine=False, headers=headers, body=body
            )
        return Hook(path, headers["webhook-id"], is_genuine=True, headers=headers, body=body)


@contextlib.asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    """Yield a receiver that is up."""
    made = Receiver()
    await made.up()
    try:
        yield made
    finally:
        await made.down()


class _Policies:
    def __init__(self, policy: Path, hasher: Hasher, known: KnownKeys) -> None:
        loaded = load(policy, hasher).policies.values()
        self.matchers = {each.domain: Matcher(each, hasher, registry=known) for each in loaded}


class Customer:
    """Makes alerts, in a process that is none of the limiters'."""

    def __init__(self, policy: Path, outbox: Outbox) -> None:
        self.outbox = outbox
        clock = SystemClock()
        known = KnownKeys(MemoryRecords(), clock)
        self._hasher = Hasher(DEVELOPMENT_SECRET)
        policies = _Policies(policy, self._hasher, known)
        sealer = Sealer([DEVELOPMENT_SECRET])
        self.alerting = Alerting(outbox, known, policies, sealer, clock, allow_private=True)

    async def wish(self, key: str, to: Receiver, threshold: int = THRESHOLD) -> str:
        """Make an alert of a key, received at a path of its own; return its id."""
        path = f"/{key}/{threshold}"
        wish = Wish("rate_limit", threshold, to.url(path))
        made = await self.alerting.create((self._hasher.key(key),), wish)
        to.secrets[path] = made.secret
        return made.alert.id

    async def remove(self, key: str, alert: str) -> None:
        """Remove it."""
        assert await self.alerting.remove((self._hasher.key(key),), alert)

    async def until_tried(self, keys: Sequence[str]) -> None:
        """Wait until it was tried to deliver something of each alert of these keys."""

        async def tried() -> bool:
            told = [await self.alerting.told((self._hasher.key(key),)) for key in keys]
            deliveries = [each.delivery for alerts in told for each in alerts]
            return all(each is not None and each.attempts for each in deliveries)

        await wait_until(tried, description="each was tried", within=WITHIN)


@contextlib.asynccontextmanager
async def customer(policy: Path, place: str) -> AsyncIterator[Customer]:
    """Yield a customer of the limiters whose registry is at `place`."""
    outbox = open_outbox(place)
    await outbox.start()
    try:
        yield Customer(policy, outbox)
    finally:
        await outbox.close()


async def use(limiter: Limiter, keys: Sequence[str], hits: int) -> None:
    """Use up so many requests of each key, many at once."""
    free = asyncio.Semaphore(_UNDER_WAY)
    async with grpc.aio.insecure_channel(limiter.address) as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)

        async def one(key: str) -> None:
            request = RateLimitRequest(domain="agent-api")
            descriptor = request.descriptors.add()
            descriptor.entries.add(key="api_key", value=key)
            descriptor.hits_addend.value = hits
            async with free:
                answer = await call(request.SerializeToString(), timeout=10)
            assert RateLimitResponse.FromString(answer).overall_code == RateLimitResponse.OK

        await asyncio.gather(*map(one, keys))


async def until_watched(limiters: Sequence[Limiter], keys: int) -> None:
    """Wait until the limiters know of the alerts of so many keys."""
    for each in limiters:

        async def known(limiter: Limiter = each) -> bool:
            return (await limiter.figures())["alerts_keys"] >= keys

        await wait_until(known, description="alerts are known there", within=WITHIN)


async def survive(
    place: str,
    policy: Path,
    keys: Sequence[str],
    *,
    down: float = 0,
    patience: float = WITHIN,
    program: str = AS_SHIPPED,
) -> None:
    """Let a receiver be down for so many seconds, and the limiter killed meanwhile.

    It refuses what comes first, then connections. Afterwards it gets the same ids, each once, and
    all within `patience` seconds.
    """
    async with receiver() as hooks, customer(policy, place) as anna:
        async with run_limiter(policy, store=place, flags=FLAGS, program=program) as killed:
            for key in keys:
                await anna.wish(key, hooks)
            await until_watched([killed], len(keys))
            await room_in_window(DAY, down + WITHIN)
            hooks.status = 503
            await use(killed, keys, LIMIT)
            await anna.until_tried(keys)
            await hooks.down()
            await asyncio.sleep(down / 2)
            killed.process.kill()
            await killed.process.wait()
        await asyncio.sleep(down / 2)
        refused, hooks.got, hooks.status = hooks.got, [], 204
        await hooks.up()
        async with run_limiter(policy, store=place, flags=FLAGS):
            await wait_until(
                lambda: len(hooks.got) >= len(keys), description="all arrive", within=patience
            )
    ids = {hook.id for hook in refused}
    assert len(ids) == len(keys)
    assert all(hook.is_genuine for hook in hooks.got)
    assert Counter(hook.id for hook in hooks.got) == dict.fromkeys(ids, 1)
