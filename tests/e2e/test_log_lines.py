"""No value begins a log line of its own, wherever it is sent and however lines are written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pytest

from ratelimitd._gen.ratelimitd.v1 import admin_pb2 as pb
from tests.e2e.support.limiter import AS_SHIPPED, Limiter, run_limiter
from tests.e2e.support.registry_changes import administrator
from tests.rpc.support.calls import describe, outcome, question

if TYPE_CHECKING:
    from collections.abc import Iterator

AT_ONCE: Final = ("--drain", "0s")
FORGED: Final = "time=9 level=error event=forged"
ENDS: Final = (
    "\n",
    "\r",
    "\r\n",
    "\v",
    "\f",
    "\x1c",
    "\x1e",
    "\x85",
    "\u2028",
    "\u2029",
    "\x1b[2K",
)
"""What ends a line for some reader, or takes one back."""
EVIL: Final = "".join(f"x{end}{FORGED}" for end in ENDS)
POLICY: Final = """
domain: test
subject: {entry: api_key, default_tier: free}
attributes: [org]
tiers: {free: {requests: 1_000/hour}}
"""
PLAIN: Final = (
    "import structlog; from ratelimitd.accounts import audit\n"
    "audit.json.dumps = str\n"
    "structlog.processors.LogfmtRenderer = lambda **_: lambda *told: f'time= {told[2]!s}'"
    ".replace('\\\\n', '\\n')\n"
    f"{AS_SHIPPED}"
)
"""The twin: lines are written as they come."""


def requests() -> Iterator[tuple[str, Any]]:
    """Yield calls of AdminService with such a value in every place that takes text."""
    key, bad = pb.Key(api_key="k"), pb.Key(api_key=EVIL)
    own = pb.OwnLimit(meter=EVIL, rate=EVIL, name=EVIL, per=[EVIL], when={EVIL: EVIL})
    for record in (
        pb.KeyRecord(tier="free", note=EVIL),
        pb.KeyRecord(tier="free", attributes={"org": EVIL}),
        pb.KeyRecord(tier=EVIL),
        pb.KeyRecord(tier="free", attributes={EVIL: EVIL}),
        pb.KeyRecord(tier="free", limits=[own]),
        pb.KeyRecord(tier="free", boost=pb.Boost(factor=EVIL, limits=[own])),
    ):
        yield "AddKey", pb.AddKeyRequest(key=key, record=record)
        yield "SetKey", pb.SetKeyRequest(key=key, record=record)
        yield "ImportKeys", pb.ImportKeysRequest(keys=[pb.AddKeyRequest(key=bad, record=record)])
    for each in (bad, pb.Key(subject=EVIL)):
        yield "GetUsage", pb.GetUsageRequest(key=each)
        yield "Reset", pb.ResetRequest(key=each, meter=EVIL)
        yield "RevokeKey", pb.RevokeKeyRequest(key=each)
    yield "ListKeys", pb.ListKeysRequest(tier=EVIL, page_token=EVIL)


async def lines(limiter: Limiter) -> list[str]:
    """Send all that, and ask with it; return the log as the most careless reader splits it."""
    async with administrator(limiter) as admin:
        for method, request in requests():
            call = getattr(admin, method)(request, metadata=(("ratelimitd-who", "the boss"),))
            await outcome(call)
    for domain in ("test", EVIL):
        entries = (f"api_key={EVIL}", f"meter={EVIL}", f"org={EVIL}", f"{EVIL}=x", f"lease={EVIL}")
        for entry in entries:
            await outcome(limiter.ask(question(describe(entry), domain=domain)))
    assert await limiter.terminate() == 0
    return limiter.log.read_text("utf-8").splitlines()


@pytest.mark.parametrize("style", ["text", "json"])
async def test_no_value_forges_a_line(style: str) -> None:
    """Each line is one of ours, and the audit log has who it was."""
    async with run_limiter(POLICY, flags=(*AT_ONCE, "--log-format", style)) as limiter:
        found = await lines(limiter)
    assert len([line for line in found if "a key was administered" in line]) >= 3
    assert any("unknown_domain" in line for line in found)
    assert all(line.isprintable() for line in found)
    if style == "json":
        events = [json.loads(line) for line in found]
        assert {event["who"] for event in events if "who" in event} == {"local at 127.0.0.1"}
        assert not [event for event in events if event["event"] == "forged"]
        return
    assert all(line.startswith("time=2") for line in found)
    assert not any("the boss" in line for line in found)


async def test_a_line_that_was_forged_is_found() -> None:
    """The twin: where values are written as they are, lines begin with them."""
    async with run_limiter(POLICY, program=PLAIN, flags=AT_ONCE) as limiter:
        found = await lines(limiter)
    assert [line for line in found if line.startswith(FORGED)]
