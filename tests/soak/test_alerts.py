"""Alerts for longer, and what they cost the decisions beside them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
from asyncio.subprocess import PIPE
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from tests.e2e.support.hooks import (
    DAY,
    FLAGS,
    Receiver,
    customer,
    policy_text,
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

    from tests.support.redis.server import Server

CROSSING: Final = 1_000
SECONDS: Final = 3.0
PART: Final = 0.3
"""Of what a limiter can do."""
THRESHOLD: Final = 10
"""Percent: reached with a key's first request."""
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


async def test_alerts_that_cross_cost_decisions_little(own_redis: Server, tmp_path: Path) -> None:
    """A thousand a round, beside a limiter that is asked the same and has no alert: p99."""
    keys = [f"key-{number}" for number in range(CROSSING * ROUNDS)]
    policy = tmp_path / "policy.yaml"
    policy.write_text(policy_text(len(keys)).replace("agent-api", "test"))
    async with contextlib.AsyncExitStack() as stack:
        plain = stack.enter_context(single("redis"))
        servers = {"without": plain, "with 1,000 crossing": own_redis}
        limiters = {
            name: await stack.enter_async_context(
                run_limiter(policy, store=server.url, flags=FLAGS)
            )
            for name, server in servers.items()
        }
        watching = limiters["with 1,000 crossing"]
        hooks = await stack.enter_async_context(receiver_alone())
        anna = await stack.enter_async_context(customer(policy, own_redis.url))
        for key in keys:
            await anna.wish(key, hooks, THRESHOLD)
        await until_watched([watching], len(keys))
        lines = {
            name: await stack.enter_async_context(dial(each.address))
            for name, each in limiters.items()
        }
        for each in lines.values():
            rate = PART * await capacity(each)
        await room_in_window(DAY, 300)
        p50, p99, p999 = (defaultdict[str, list[float]](list) for _ in range(3))
        for turn in range(ROUNDS):
            asked = [question(key) for key in keys[turn * CROSSING : (turn + 1) * CROSSING]]
            for name, each in lines.items():
                answers = await paced(each, rate, SECONDS, itertools.cycle(asked))
                for part, found in ((0.5, p50), (0.99, p99), (0.999, p999)):
                    found[name].append(percentile(answers, part))

            async def all_delivered(sent: int = CROSSING * (turn + 1)) -> bool:
                told = await watching.metrics()
                return f'messages_total{{outcome="delivered"}} {sent}.0' in told

            await wait_until(all_delivered, description="all are delivered", within=60)
    shown = ", ".join(
        f"{name} {quiet(p50[name]):.2f} / {quiet(p99[name]):.2f} / {quiet(p999[name]):.2f} ms"
        for name in servers
    )
    report_redis.others[f"p50, p99, p99.9 while 1,000 alerts cross, {rate:,.0f} calls a second"] = (
        f"{shown} (third best of {ROUNDS} rounds); asserted: p99 at most {WORSE:g} ms more"
    )
    print(shown, {name: [round(each, 1) for each in all_of] for name, all_of in p99.items()})
    assert quiet(p99["with 1,000 crossing"]) <= quiet(p99["without"]) + WORSE
