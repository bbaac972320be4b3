"""The command: what load is asked for, its bounds, who makes it, and what is told of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ratelimitd.cli import flags, terminal, values
from ratelimitd.cli.bench.figures import Load
from ratelimitd.settings import duration as duration_of

if TYPE_CHECKING:
    from ratelimitd.cli.bench.figures import Measured
    from ratelimitd.settings import Address

DEFAULT_SECONDS = 5.0
MOST_SECONDS = 300.0
MOST = {"requests": 5_000_000, "connections": 64, "streams": 1000}
"""Bounds of the load, and so of the memory that its figures take."""


def bench(
    *entries: flags.Entries,
    target: flags.Target = "127.0.0.1:8081",
    domain: flags.Domain = "agent-api",
    duration: flags.Duration = None,
    requests: flags.Requests = None,
    connections: flags.Connections = 2,
    streams: flags.Streams = 50,
    generator: flags.Generator = None,
    allow_remote: flags.AllowRemote = False,
    as_json: flags.Json = False,
) -> int:
    """Load a running limiter and measure it.

    Asks one question over and over, with h2load where that is installed (Debian: nghttp2-client).
    The key's limit runs out soon; a denial is a decision like any other. Exit status: 0, or 1
    when calls ended without a decision.

    Example: `ratelimitd bench --duration 10s api_key=demo-team route=invoke`
    """
    from ratelimitd.rpc.ask import encode

    faults = values.Faults()
    address = _target(faults, target, allow_remote=allow_remote)
    faults.of("--domain", values.domain, domain)
    pairs = values.entries(entries, faults)
    load = _load(faults, duration, requests, connections, streams)
    program = _program(faults, generator)
    faults.settle()
    assert address is not None
    assert load is not None
    measured = _measure(program, address, encode(domain, pairs, None), load)
    _tell(measured, as_json=as_json)
    return 1 if measured.not_ok else 0


def _target(faults: values.Faults, text: str, *, allow_remote: bool) -> Address | None:
    address = faults.of("--target", values.target, text)
    if address is not None and not address.is_local and not allow_remote:
        faults.add(f"--target {address} is another machine: say --allow-remote if it may be loaded")
    return address


def _load(
    faults: values.Faults,
    duration: str | None,
    requests: int | None,
    connections: int,
    streams: int,
) -> Load | None:
    """Return the load that is asked for; None where it is out of bounds."""
    if duration is not None and requests is not None:
        faults.add("--duration and --requests both end the load; give one of them")
    seconds: float | None = DEFAULT_SECONDS if requests is None else 0.0
    if duration is not None:
        seconds = faults.of("--duration", duration_of, duration)
        if seconds is not None and not 0 < seconds <= MOST_SECONDS:
            faults.add(f"--duration {duration}: more than 0s, and {MOST_SECONDS:g}s at most")
    asked = {"requests": requests, "connections": connections, "streams": streams}
    for flag, count in asked.items():
        if count is not None and not 1 <= count <= MOST[flag]:
            faults.add(f"--{flag} {count}: a number from 1 to {MOST[flag]}")
    if faults or seconds is None:
        return None
    # Fewer calls than connections: the rest of these would have nothing to do.
    used = min(connections, requests or connections)
    return Load(seconds=seconds, requests=requests or 0, connections=used, streams=streams)


def _program(faults: values.Faults, generator: str | None) -> str | None:
    """Return where h2load is; None where grpcio makes the load."""
    from ratelimitd.cli.bench import h2load

    if generator not in {None, "h2load", "grpcio"}:
        faults.add(f"--generator {generator}: choose one of h2load, grpcio")
    if generator == "grpcio":
        return None
    found = h2load.find()
    if generator == "h2load" and found is None:
        faults.add("--generator h2load: it is not installed (Debian: nghttp2-client)")
    return found


def _measure(program: str | None, target: Address, message: bytes, load: Load) -> Measured:
    """Ask once, load, ask once more: before and after, an answer must be a decision."""
    import uvloop

    from ratelimitd.cli._client import ask
    from ratelimitd.cli.bench import h2load, python
    from ratelimitd.rpc.ask import METHOD

    ask(target, message)
    generator = "h2load" if program else "grpcio"
    with terminal.working(f"loading {target} with {generator} …", always=True):
        if program is not None:
            measured = h2load.run(program, target, METHOD, message, load)
        else:
            measured = uvloop.run(python.run(target, METHOD, message, load))
    ask(target, message)
    return measured


def _tell(measured: Measured, *, as_json: bool) -> None:
    print(json.dumps(measured.as_dict()) if as_json else measured.as_text())
    if measured.generator == "h2load":
        terminal.say(
            "Load by h2load, which reads HTTP statuses only; a call before and one after the run "
            "had a decision. It takes CPU time too: on one machine, both share it."
        )
    else:
        terminal.say(
            "Load by grpcio in this process, slower than the limiter and so the bottleneck; "
            "install h2load (Debian: nghttp2-client) to measure the limiter"
        )
