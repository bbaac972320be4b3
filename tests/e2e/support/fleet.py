"""`serve --workers`: the processes behind one ready line, and what can be asked of each."""

from __future__ import annotations

import http.client
import random
import re
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ratelimitd.cli import _client
from ratelimitd.rpc.ask import encode
from ratelimitd.settings import Address
from tests.e2e.support.cli import STOPS_WITHIN, children

if TYPE_CHECKING:
    from collections.abc import Callable

    from ratelimitd.rpc.ask import Answer, Said
    from tests.e2e.support.cli import Running

Call = tuple[str, list[tuple[str, str]]]
"""A domain, and the entries of a descriptor."""
SAMPLE_CALL: Call = ("agent-api", [("api_key", "demo-team"), ("route", "invoke")])

_SAMPLE = re.compile(r'(\w+)\{(?:\w+="(\w+)",)?worker="(\d+)"\} (\S+)')


def workers(supervisor: int) -> dict[int, int]:
    """Return the process of each worker that is there now, by its index."""
    found = {}
    for pid in children(supervisor):
        words = _words(pid)
        if "ratelimitd.cli.worker" in words:
            found[int(words[words.index("ratelimitd.cli.worker") + 1])] = pid
    return found


def _words(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text("utf-8").split("\0")
    except OSError:
        return []


def runs(pid: int) -> bool:
    """Say whether a process is there and no zombie: not every machine's first process reaps."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def wait_until(holds: Callable[[], object], description: str) -> None:
    """Return once it holds."""
    end = time.monotonic() + STOPS_WITHIN
    while not holds():
        assert time.monotonic() < end, description
        time.sleep(0.02)


def listeners(limiter: Running) -> list[str]:
    """Return every gRPC address, in the order of the ready line."""
    return [address for name, address in limiter.places if name == "grpc"]


def decides(target: str, hits: int = 1) -> bool:
    """Say whether a worker lets a caller of the sample policy's pass."""
    return ask(target, SAMPLE_CALL, hits).allowed


def told(target: str, call: Call) -> Said:
    """Return what a worker says of a caller, charging nothing."""
    (said,) = ask(target, call, 0).statuses
    return said


def ask(target: str, call: Call, hits: int) -> Answer:
    """Ask a worker once."""
    return _client.ask(Address.parse(target), encode(*call, hits))


def get(address: str, path: str) -> tuple[int, str]:
    """Return the status and the body of a GET; 0 where nobody answers."""
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except OSError:
        return 0, ""
    finally:
        connection.close()


def figures(limiter: Running) -> dict[tuple[str, int, str], float]:
    """Return what `/metrics` says: by name, worker, and the value of another label."""
    _, text = get(limiter["admin"], "/metrics")
    found = _SAMPLE.finditer(text)
    return {(match[1], int(match[3]), match[2] or ""): float(match[4]) for match in found}


def free_row(count: int) -> Address:
    """Return an address whose port and the next ones were free a moment ago.

    Below the ports that the kernel gives away by itself.
    """
    for _ in range(100):
        first = random.randrange(20_000, 30_000)
        try:
            for port in range(first, first + count):
                socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return Address("127.0.0.1", first)
    raise AssertionError("no free ports side by side")
