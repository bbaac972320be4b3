"""How long a policy file takes to load, part by part: 1,000 rules and 100,000 keys.

`python -m bench.policy_load [KEYS]`. Each size is loaded in a process of its own, so that the peak
of memory is that load's alone.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from pathlib import Path
from random import Random
from time import perf_counter

from bench import machine
from ratelimitd.keys import Hasher
from ratelimitd.policy.compile import compiled
from ratelimitd.policy.effective import effective_limits
from ratelimitd.policy.faults import Report, Text
from ratelimitd.policy.load import load
from ratelimitd.policy.mend import validated
from ratelimitd.policy.tree import read

KEYS = 100_000
TIERS = 200
RULES_PER_TIER = 5
HASHER = Hasher(b"bench")


def written(keys: int) -> str:
    """Return a policy with that many keys, a tenth of them with limits of their own."""
    random = Random(1)
    lines = ["domain: bench", "subject: {default_tier: t0}", "tiers:"]
    for tier in range(TIERS):
        lines += [f"  t{tier}:", f"    requests: [{tier + 100}/hour, 10/minute]", "    limits:"]
        lines += [
            f"      - {{meter: requests, rate: 9/second, when: {{route: r{rule}}}, name: n{rule}}}"
            for rule in range(RULES_PER_TIER)
        ]
    lines.append("keys:")
    for key in range(keys):
        own = ", limits: {requests: 20_000/hour, concurrent: 200}" if key % 10 == 0 else ""
        day = f", billing_day: {key % 28 + 1}" if key % 7 == 0 else ""
        name = f"{random.getrandbits(96):024x}"
        lines.append(f"  - {{key: sk-{name}, tier: t{key % TIERS}, org: o{key % 500}{own}{day}}}")
    return "\n".join((*lines, ""))


def measure(keys: int) -> dict[str, float]:
    """Return seconds for the whole and for each part, and MiB at the peak of the whole."""
    text = written(keys)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "policy.yaml"
        path.write_text(text, "utf-8")
        size = path.stat().st_size / 2**20
        began = perf_counter()
        loaded = load(path, HASHER)
        whole = perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    (policy,) = loaded.policies.values()
    began = perf_counter()
    for record in policy.records.values():
        effective_limits(policy, record)
    effective = perf_counter() - began
    del loaded, policy
    return {"MiB": size, "whole": whole, "peak": peak, "effective": effective} | _parts(text)


def _parts(text: str) -> dict[str, float]:
    report = Report(Text("policy.yaml", text))
    times = [perf_counter()]
    root = read(report)
    times.append(perf_counter())
    assert root is not None
    part = validated(root, report)
    times.append(perf_counter())
    assert part is not None
    compiled(part, report, HASHER)
    times.append(perf_counter())
    yaml, shape, meaning = (after - before for before, after in pairwise(times))
    return {"yaml": yaml, "shape": shape, "meaning": meaning}


def main() -> None:
    """Print the figures."""
    most = int(sys.argv[1]) if len(sys.argv) > 1 else KEYS
    print(machine.describe())
    fresh = multiprocessing.get_context("spawn")
    for keys in (most // 10, most):
        with ProcessPoolExecutor(1, mp_context=fresh) as process:
            found = process.submit(measure, keys).result()
        print(
            f"{keys:,} keys, {TIERS * RULES_PER_TIER:,} rules, {found['MiB']:.1f} MiB of YAML: "
            f"loaded in {found['whole']:.2f} s (YAML {found['yaml']:.2f}, shape "
            f"{found['shape']:.2f}, meaning {found['meaning']:.2f}); {found['peak']:,.0f} MiB at "
            f"the peak; effective limits of all keys {found['effective']:.2f} s"
        )


if __name__ == "__main__":
    main()
