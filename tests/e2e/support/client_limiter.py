"""A real limiter for the client's tests: a process per store, a key per test, and what it used."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ratelimitd.client import Ask
from tests.e2e.support.cli import ANYWHERE, running
from tests.e2e.support.counting import PATIENT, store_of
from tests.e2e.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ratelimitd.client import AsyncLimiter, Limiter

DOMAIN: Final = "test"
PATIENCE: Final = 20.0
"""Seconds that a call may take on a machine that does much else."""
LEASE: Final = 3.0
"""Seconds that a lease of `brief` lasts."""
POLICY: Final = f"""
domain: {DOMAIN}
subject: {{entry: api_key, scheme: bearer, default_tier: plain, missing: nobody}}
meters:
  brief: {{lease: {LEASE:g}s}}
  images: {{kind: postpaid, reservation: 1s, on_expiry: release}}
tiers:
  plain: {{requests: 5/year, concurrent: 2, tokens: 100/year, brief: 2, images: 10/year}}
  nobody: {{requests: 0/year}}
headers: {{report: requests/year}}
"""

_numbers = itertools.count()


@contextlib.contextmanager
def limiter_of(store: str, *more: str) -> Iterator[str]:
    """Run a limiter that counts in a store of this kind; yields its address."""
    with tempfile.TemporaryDirectory() as folder, store_of(store) as url:
        policy = Path(folder) / "policy.yaml"
        policy.write_text(POLICY, "utf-8")
        flags = (*ANYWHERE, *more, "--store", url, *(PATIENT if store == "redis" else ()))
        with running("serve", "--policy", policy, *flags) as limiter:
            yield limiter["grpc"]


def nowhere() -> str:
    """Return an address of this machine at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def new_key() -> str:
    """Return an API key that nobody has used."""
    return f"key-{os.getpid()}-{next(_numbers)}"


def used(limiter: Limiter, key: str, meter: str) -> int:
    """What a key has used of a meter, by a peek."""
    (state,) = limiter.decide(key, Ask(meter, peek=True)).limits
    return state.used


async def aused(limiter: AsyncLimiter, key: str, meter: str) -> int:
    """The same, awaited."""
    (state,) = (await limiter.decide(key, Ask(meter, peek=True))).limits
    return state.used


async def comes_to(limiter: AsyncLimiter, key: str, meter: str, wanted: int) -> None:
    """Wait until a key has used so much of a meter: some of it happens behind a response."""

    async def there() -> bool:
        return await aused(limiter, key, meter) == wanted

    await wait_until(there, description=f"{wanted} of {meter}", within=15)
