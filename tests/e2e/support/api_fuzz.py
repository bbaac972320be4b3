"""Schemathesis against a running limiter: requests by its OpenAPI document, and against it."""

from __future__ import annotations

import contextlib
import re
import sys
import tempfile
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.e2e.support.limiter import run_limiter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.e2e.support.limiter import Limiter

KEY: Final = "demo-pro"
POLICY: Final = f"""
domain: agent-api
subject: {{entry: api_key, scheme: bearer, default_tier: deny}}
tiers: {{pro: {{requests: [1_000/hour, 100/minute], concurrent: 10, tokens: 2_000_000/month}}}}
keys: [{{key: {KEY}, tier: pro}}]
headers: {{report: requests/hour}}
"""
"""Keys that nobody knows are refused, so that a call without the right one must fail."""

UNHURRIED: Final = """
from ratelimitd.accounts import reads
reads.PER_KEY = reads.PER_ADDRESS = 1_000_000
{plant}
from ratelimitd.__main__ import main; main()
"""
"""The limiter as shipped, but that one key may read as often as this asks; or with a plant."""

CONFIG: Final = """
[checks]
# 413: a document cannot say how long a whole body may be.
negative_data_rejection.expected-statuses = [400, 401, 404, 413, 415, 422]
# 401: two keys at once; 404, 409, 422: that a URL is public, or a name known, no document can say.
positive_data_acceptance.expected-statuses = ["2xx", 401, 404, 409, 422]
"""


EVERY_PHASE: Final = "examples,coverage,fuzzing,stateful"


class Found(NamedTuple):
    """What came of it."""

    cases: int
    failed: bool
    report: str


@contextlib.asynccontextmanager
async def limiter(plant: str = "") -> AsyncIterator[Limiter]:
    """Run what is asked, with a fault in it or as it is."""
    async with run_limiter(POLICY, program=UNHURRIED.format(plant=plant)) as running:
        yield running


async def fuzz(running: Limiter, *, examples: int, seed: int, phases: str = EVERY_PHASE) -> Found:
    """Ask so many things of each operation, with every check that schemathesis has."""
    with tempfile.TemporaryDirectory(prefix="ratelimitd-fuzz-") as folder:
        config = Path(folder) / "schemathesis.toml"
        config.write_text(CONFIG, "utf-8")
        asking = await create_subprocess_exec(
            *(Path(sys.executable).with_name("st"), "--config-file", config, "run"),
            *(f"http://{running.http}/openapi.json", "--header", f"Authorization: Bearer {KEY}"),
            *(
                "--phases",
                phases,
                "--seed",
                str(seed),
                "--max-examples",
                str(examples),
                "--no-color",
                "--no-shrink",
            ),
            *(
                "--generation-database",
                "none",
                "--generation-with-security-parameters",
                "false",
                "--suppress-health-check",
                "all",
            ),
            cwd=folder,
            stdout=PIPE,
            stderr=STDOUT,
        )
        output, _ = await asking.communicate()
    report = output.decode()
    counted = re.search(r"(\d+) generated", report)
    assert counted, report
    return Found(int(counted[1]), asking.returncode != 0, report)
