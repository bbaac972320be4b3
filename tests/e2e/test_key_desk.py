"""The commands of keys against a real limiter: boosts, disabling, usage, leases and reset."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ratelimitd._gen.envoy.service.ratelimit.v3.rls_pb2 import RateLimitRequest
from tests.e2e.support.limiter import ratelimitd, run_limiter
from tests.e2e.support.promised import HOUR
from tests.e2e.support.waiting import room_in_window

if TYPE_CHECKING:
    from tests.e2e.support.limiter import Limiter

KEY = "sk-desk"


class Desk:
    """Somebody at the command line, and one key."""

    def __init__(self, limiter: Limiter) -> None:
        self.limiter = limiter

    async def run(self, *words: str) -> str:
        """Run a command about the key."""
        return await ratelimitd(*words, "--admin", self.limiter.admin)

    async def told(self, command: str) -> Any:  # noqa: ANN401 - the command's JSON
        """Return what a command tells scripts of the key."""
        return json.loads(await self.run(command, KEY, "--json"))

    async def limit(self) -> str | None:
        """Return the limit that the key is shown; None: it is refused."""
        answer = await self.limiter.peek(f"api_key={KEY}")
        shown: str | None = answer["headers"].get("X-RateLimit-Limit")
        return shown

    async def hold(self) -> str:
        """Hold a lease of the key, and return its id."""
        request = RateLimitRequest(domain="agent-api")
        descriptor = request.descriptors.add()
        descriptor.entries.add(key="api_key", value=KEY)
        descriptor.entries.add(key="meter", value="concurrent")
        answer = await self.limiter.ask(request)
        return str(answer.dynamic_metadata["lease"])


async def test_a_boost_and_a_disabled_key_are_in_force_at_once() -> None:
    """And end when somebody says so; the command shows what it wrote."""
    async with run_limiter() as limiter:
        desk = Desk(limiter)
        boost = ("--boost", "2x", "--boost", "tokens=5M/month", "--until", "9000-01-01")
        line = await desk.run("keys", "add", KEY, "--tier", "pro", *boost)
        assert "boost  2x  tokens=5M/month  until 9000-01-01T00:00:00Z" in line
        assert KEY not in line
        assert await desk.limit() == "2000"
        await desk.run("keys", "set", KEY, "--disabled")
        assert await desk.limit() is None
        await desk.run("keys", "set", KEY, "--enabled", "--no-boost")
        assert await desk.limit() == "1000"
        assert "boost" not in await desk.run("keys", "show", KEY)


async def test_usage_leases_and_reset_tell_of_one_key() -> None:
    """What was used is forgotten, what is held is told, and stays."""
    async with run_limiter() as limiter:
        desk = Desk(limiter)
        await desk.run("keys", "add", KEY, "--tier", "pro")
        await room_in_window(HOUR, 30)
        await limiter.charge(40, api_key=KEY)
        leases = {await desk.hold() for _ in range(2)}
        usage = {limit["limit"]: limit for limit in (await desk.told("usage"))["limits"]}
        hour = usage["requests/hour"]
        assert (hour["used"], "forecast" in hour) == (40, True)
        assert usage["concurrent"]["forecast"] is None
        (held,) = (await desk.told("leases"))["limits"]
        assert (held["limit"], held["amount"], held["held"]) == ("concurrent", 10, 2)
        assert len({lease["mark"] for lease in held["leases"]}) == 2
        shown = await desk.run("leases", KEY)
        assert "concurrent: 2 of 10 held" in shown
        assert all(lease["ends"] in shown for lease in held["leases"])
        assert not any(lease in shown + str(held) for lease in leases)
        assert "requests/hour: 40 forgotten" in await desk.run("reset", KEY, "--meter", "requests")
        assert "requests/hour: 0 of 1,000 used" in await desk.run("usage", KEY)
        assert await desk.run("reset", KEY, "--meter", "concurrent") == ""
        assert (await desk.told("leases"))["limits"] == [held]
