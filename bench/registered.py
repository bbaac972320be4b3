"""What a decision costs whose key is registered, beside one whose key stands in the policy file.

`python -m bench.registered` runs these rows alone. Both servers have the same keys in one tier, are
warm, and take turns; unregistered keys are refused, so that no row can measure those.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import grpc
import yaml
from rich.console import Console
from rich.table import Table

from bench import load, request, servers, shared
from ratelimitd._gen.ratelimitd.v1 import admin_pb2
from ratelimitd._gen.ratelimitd.v1.admin_pb2_grpc import AdminServiceStub

if TYPE_CHECKING:
    from bench.load import Cost

FILED, REGISTERED = "keys in the file", "keys registered"
KEYS = {"one key": 1, "10,000 keys": 10_000}
_TIER = "bench"
_PAGE = 1_000


def names(count: int) -> list[str]:
    """Return that many keys; the usual one first."""
    return [request.KEY, *(f"sk-{number:016}" for number in range(1, count))]


def policy(folder: Path, keys: list[str]) -> Path:
    """Write the measured policy with these keys, and with no place for others."""
    text = (Path(__file__).with_name("policy.yaml")).read_text("utf-8")
    plain = yaml.safe_load(text)
    plain["subject"]["default_tier"] = "deny"
    plain["keys"] = [{"key": key, "tier": _TIER} for key in keys]
    path = folder / f"{len(keys)}.yaml"
    path.write_text(yaml.safe_dump(plain), "utf-8")
    return path


def register(admin: str, keys: list[str]) -> None:
    """Register keys at a limiter."""
    record = admin_pb2.KeyRecord(tier=_TIER)
    with grpc.insecure_channel(admin) as channel:
        for first in range(0, len(keys), _PAGE):
            named = [admin_pb2.Key(api_key=key) for key in keys[first : first + _PAGE]]
            wanted = [admin_pb2.AddKeyRequest(key=key, record=record) for key in named]
            AdminServiceStub(channel).ImportKeys(admin_pb2.ImportKeysRequest(keys=wanted))


def rounds(keys: list[str], calls: int, times: int, store: str) -> dict[str, list[Cost]]:
    """Measure both servers once a round, each on a store of its own."""
    costs: dict[str, list[Cost]] = {FILED: [], REGISTERED: []}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        running = {}
        for name, filed in ((FILED, keys), (REGISTERED, [])):
            where = stack.enter_context(shared.redis())[1] if store == "redis" else store
            command = servers.ratelimitd("h2corn", where, policy(folder, filed))
            running[name] = stack.enter_context(servers.running([*command, *shared.PATIENT]))
        register(running[REGISTERED].admin, keys)
        for number in range(times + 1):
            for name, server in running.items():
                cost = load.measure(server, max(calls, len(keys)), keys)
                if number:  # the first warms up
                    costs[name].append(cost)
    return costs


def main(calls: int = 20_000, times: int = 7) -> None:
    """Measure and print."""
    table = Table("CPU µs a decision, h2corn", "store", FILED, REGISTERED, "ratio")
    for store in ("memory", "redis"):
        for row, count in KEYS.items():
            costs = rounds(names(count), calls, times, store)
            pairs = zip(costs[FILED], costs[REGISTERED], strict=True)
            ratio = median(ours.cpu_us / theirs.cpu_us for theirs, ours in pairs)
            cells = [f"{median(cost.cpu_us for cost in each):.1f}" for each in costs.values()]
            table.add_row(row, store, *cells, f"{ratio:.2f}×")
    Console(width=110).print(table)


if __name__ == "__main__":
    main(int(os.environ.get("CALLS", "20000")))
