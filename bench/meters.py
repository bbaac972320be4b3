"""What tokens and concurrency add: a request's call with three meters, and the call at its end.

`python -m bench.meters` runs these rows alone. The calls are those of envoy/envoy.yaml: requests,
by key and by address; with a peek at the tokens and an acquisition beside them; and the reports of
what was used, with the lease that the second kind was given.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from bench import raw, request, servers, shared
from bench.load import CONNECTIONS, STREAMS
from ratelimitd._gen.envoy.service.ratelimit.v3.rls_pb2 import RateLimitRequest, RateLimitResponse

if TYPE_CHECKING:
    from ratelimitd._gen.envoy.extensions.common.ratelimit.v3.ratelimit_pb2 import (
        RateLimitDescriptor,
    )

POLICY = Path(__file__).with_name("meters.yaml")
ALONE, THREE, DONE = "requests alone", "three meters", "stream done"


def end(lease: str) -> RateLimitRequest:
    """Return the call of a stream's end: what was used, and the lease that was held."""
    done = RateLimitRequest(domain="agent-api")
    used = _described(done, meter="tokens", phase="done")
    used.hits_addend.value = 42
    held = _described(done, meter="concurrent", phase="done", lease=lease)
    held.hits_addend.value = 1
    held.is_negative_hits = True
    return done


def alone() -> RateLimitRequest:
    """Return the call of a request with requests alone: those of its key, and of its address."""
    whole = request.message()
    address = whole.descriptors.add()
    for key, value in (
        ("meter", "address"),
        ("remote_address", "10.1.2.3"),
        ("masked_remote_address", "10.1.2.3/32"),
    ):
        address.entries.add(key=key, value=value)
    return whole


def beginning() -> RateLimitRequest:
    """Return the call of a request with three meters."""
    whole = alone()
    _described(whole, meter="tokens").hits_addend.value = 0
    _described(whole, meter="concurrent")
    return whole


def _described(whole: RateLimitRequest, **entries: str) -> RateLimitDescriptor:
    descriptor = whole.descriptors.add()
    descriptor.entries.extend(request.message().descriptors[0].entries)
    for key, value in entries.items():
        descriptor.entries.add(key=key, value=value)
    return descriptor


def leases_of(answers: list[bytes]) -> list[str]:
    """Return the leases that answers give. Raises `RuntimeError` on a denial."""
    found = []
    for answer in answers:
        response = RateLimitResponse.FromString(answer[5:])
        if response.overall_code != RateLimitResponse.OK:
            raise RuntimeError("the measured request was denied")
        found.append(response.dynamic_metadata.fields["lease"].string_value)
    return found


def round_of(server: servers.Running, calls: int) -> dict[str, float]:
    """Return the server's CPU a call of each kind, microseconds."""
    costs: dict[str, float] = {}

    def spend(name: str, bodies: list[bytes]) -> list[bytes]:
        before = server.cpu_seconds()
        driven = raw.drive(server.target, request.PATH, bodies, CONNECTIONS, STREAMS, keep=True)
        costs[name] = (server.cpu_seconds() - before) / calls * 1e6
        return driven.answers

    spend(ALONE, [request.frame(alone())] * calls)
    leases = leases_of(spend(THREE, [request.frame(beginning())] * calls))
    ends = [request.frame(end(lease)) for lease in leases]
    spend(DONE, ends)
    return costs


def measure(calls: int, times: int) -> dict[tuple[str, str], list[dict[str, float]]]:
    """Measure every server once a round."""
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    with ExitStack() as stack:
        _, url = stack.enter_context(shared.redis())
        running = {}
        for transport in ("h2corn", "pyvoy"):
            for store, where in (("memory", "memory"), ("redis", url)):
                command = servers.ratelimitd(transport, where, POLICY)
                if store == "redis":
                    command += shared.PATIENT
                running[transport, store] = stack.enter_context(servers.running(command))
        for number in range(times + 1):
            for name, server in running.items():
                costs = round_of(server, calls)
                if number:  # the first warms up
                    found.setdefault(name, []).append(costs)
    return found


def main(calls: int = 5_000, times: int = 7) -> None:
    """Measure and print."""
    table = Table("CPU µs of the server", "store", ALONE, THREE, "ratio", DONE, "ratio")
    for (transport, store), rows in measure(calls, times).items():
        alone = median(row[ALONE] for row in rows)
        cells = [transport, store, f"{alone:.1f}"]
        for name in (THREE, DONE):
            ratio = median(row[name] / row[ALONE] for row in rows)
            cells += [f"{median(row[name] for row in rows):.1f}", f"{ratio:.2f}×"]
        table.add_row(*cells)
    Console(width=110).print(table)


if __name__ == "__main__":
    main(int(os.environ.get("CALLS", "5000")))
