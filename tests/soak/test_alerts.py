"""Alerts for longer, and what they cost the decisions beside them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
from asyncio.subprocess import PIPE
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from tests.e2e.support.hooks import (
    DAY,
    FLAGS,
    Receiver,
    customer,
    policy_text,
    survive,
    until_watched,
)
from tests.e2e.support.limiter import run_limiter
from tests.e2e.support.redis_calls import dial, paced, percentile, question
from tests.e2e.support.waiting import room_in_window, wait_until
from tests.soak import report_redis
from tests.soak.test_redis_load import ROUNDS, WORSE, capacity, quiet
from tests.support.redis.server import single

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.e2e.support.limiter import Limiter
    from tests.e2e.support.redis_calls import Answer
    from tests.support.redis.server import Server

CROSSING: Final = 1_000
SECONDS: Final = 3.0
PART: Final = 0.1
"""Of what a limiter can do: callers, receiver and Redis share two cores with it."""
THRESHOLD: Final = 10
"""Percent: reached with a key's first request."""
WITH, WITHOUT = "with 1,000 crossing", "without"
ALONE: Final = """
import asyncio
async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            length = head.lower().partition(b"content-length: ")[2].partition(b"\\r\\n")[0]
            await reader.readexactly(int(length))
            writer.write(b"HTTP/1.1 204 X\\r\\n\\r\\n")
    except (OSError, EOFError):
        writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


@contextlib.asynccontextmanager
async def receiver_alone() -> AsyncIterator[Receiver]:
    """Yield a receiver in a process of its own, which takes nothing of the callers' time."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", ALONE, stdout=PIPE)
    try:
        assert process.stdout is not None
        yield Receiver(int(await process.stdout.readline()))
    finally:
        process.kill()
        await process.wait()


class Waits(NamedTuple):
    """Percentiles of each round, milliseconds."""

    p50: list[float]
    p99: list[float]
    p999: list[float]

    def add(self, answers: list[Answer]) -> None:
        """Note a round."""
        for part, found in zip((0.5, 0.99, 0.999), self, strict=True):
            found.append(percentile(answers, part))

    def __str__(self) -> str:
        """Tell the third best rounds."""
        return " / ".join(f"{quiet(found):.2f}" for found in self)


async def in_turns(limiters: dict[str, Limiter], keys: list[str]) -> tuple[float, dict[str, Waits]]:
    """Ask each limiter the same in turns, of new keys in each round; return the rate and waits."""
    waits = {name: Waits([], [], []) for name in limiters}
    watching = limiters[WITH]
    async with contextlib.AsyncExitStack() as stack:
        lines = {
            name: await stack.enter_async_context(dial(each.address))
            for name, each in limiters.items()
        }
        rate = PART * min([await capacity(each) for each in lines.values()])
        await room_in_window(DAY, 300)
        for turn in range(ROUNDS):
            asked = [question(key) for key in keys[turn * CROSSING : (turn + 1) * CROSSING]]
            for name, each in lines.items():
                waits[name].add(await paced(each, rate, SECONDS, itertools.cycle(asked)))

            async def all_delivered(sent: int = CROSSING * (turn + 1)) -> bool:
                told = await watching.metrics()
                return f'messages_total{{outcome="delivered"}} {sent}.0' in told

            await wait_until(all_delivered, description="all are delivered", within=60)
    return rate, waits


async def test_alerts_that_cross_cost_decisions_little(own_redis: Server, tmp_path: Path) -> None:
    """A thousand a round, beside a limiter that is asked the same and has no alert: p99."""
    keys = [f"key-{number}" for number in range(CROSSING * ROUNDS)]
    policy = tmp_path / "policy.yaml"
    policy.write_text(policy_text(len(keys)).replace("agent-api", "test"))
    async with contextlib.AsyncExitStack() as stack:
        servers = {WITHOUT: stack.enter_context(single("redis")), WITH: own_redis}
        limiters = {
            name: await stack.enter_async_context(
                run_limiter(policy, store=server.url, flags=FLAGS)
            )
            for name, server in servers.items()
        }
        hooks = await stack.enter_async_context(receiver_alone())
        anna = await stack.enter_async_context(customer(policy, own_redis.url))
        for key in keys:
            await anna.wish(key, hooks, THRESHOLD)
        await until_watched([limiters[WITH]], len(keys))
        rate, waits = await in_turns(limiters, keys)
    shown = ", ".join(f"{name} {each} ms" for name, each in waits.items())
    report_redis.others[f"p50 / p99 / p99.9 beside alerts, {rate:,.0f} calls a second"] = (
        f"{shown} (third best of {ROUNDS} rounds); asserted: p99 at most {WORSE:g} ms more"
    )
    print(shown, waits)
    assert quiet(waits[WITH].p99) <= quiet(waits[WITHOUT].p99) + WORSE


@pytest.mark.parametrize("kind", ["redis", "file"])
async def test_a_receiver_that_is_down_for_a_minute_misses_nothing(
    kind: str, own_redis: Server, tmp_path: Path
) -> None:
    """And the limiter is killed meanwhile: the same ids, each once."""
    place = own_redis.url if kind == "redis" else f"file:{tmp_path / 'counts.db'}"
    keys = [f"key-{number}" for number in range(CROSSING)]
    policy = tmp_path / "policy.yaml"
    policy.write_text(policy_text(CROSSING))
    await survive(place, policy, keys, down=60.0, patience=180.0)
