"""Two real limiters with one registry: what is changed by the one is in force in the other."""

from pathlib import Path

from tests.e2e.support.limiter import Limiter, ratelimitd, run_limiter
from tests.e2e.support.registry_changes import measure
from tests.e2e.support.waiting import wait_until
from tests.support.redis.server import Server

CALLS = 100
WITHIN = 10.0
"""Seconds: generous for a machine that does other things beside; the promise is one."""


async def keys(limiter: Limiter, *words: str) -> str:
    """Run `ratelimitd keys` against a limiter."""
    return await ratelimitd("keys", *words, "--admin", limiter.admin)


async def until_shown(limiter: Limiter, amount: int | None) -> None:
    """Wait until a key's limit is so large; None: until the key is refused."""

    async def so() -> bool:
        answer = await limiter.peek("api_key=sk-two")
        shown = answer["headers"].get("X-RateLimit-Limit")
        return answer["allowed"] is (amount is not None) and shown == (amount and str(amount))

    await wait_until(so, description=f"its limit is {amount}", within=WITHIN)


async def test_a_change_in_one_process_is_in_force_in_the_other(redis_server: Server) -> None:
    """An upgrade, limits of the key's own, a revocation; and what was used stays used."""
    async with (
        run_limiter(store=redis_server.url) as one,
        run_limiter(store=redis_server.url) as other,
    ):
        await other.charge(5, api_key="sk-two")
        await until_shown(other, 100)
        await keys(one, "add", "sk-two", "--tier", "pro")
        await until_shown(other, 1_000)
        answer = await other.peek("api_key=sk-two")
        assert answer["headers"]["X-RateLimit-Remaining"] == "995"
        await keys(one, "set", "sk-two", "--limit", "requests=77/hour")
        await until_shown(other, 77)
        assert "sk-two" not in await keys(other, "list")
        await keys(one, "revoke", "sk-two")
        await until_shown(other, None)
    with redis_server.client() as client:
        assert not [key for key in client.scan_iter("*") if b"sk-two" in key]
        assert b"sk-two" not in b"".join(client.hvals("rlk1:{keys}:records"))


async def test_no_call_fails_while_keys_change_in_redis(redis_server: Server) -> None:
    """An upgrade, a boost, own limits, a revocation; hundreds of calls a second beside them."""
    seen = await measure(redis_server.url, 1, store=redis_server.url)
    seen.assert_in_force(WITHIN, CALLS)


async def test_no_call_fails_while_keys_change_in_a_file(tmp_path: Path) -> None:
    """Which two processes that count for themselves share."""
    seen = await measure(f"file:{tmp_path / 'keys'}", 1)
    seen.assert_in_force(WITHIN, CALLS)
