"""Who may reach outside: clocks, the environment, sockets, files, and naps in tests."""

import re
from collections.abc import Callable, Iterator

import pytest

from tests.architecture.source import Source, assert_none, is_in, references, server, sources
from tests.architecture.test_imports import CORE

CLOCK = re.compile(
    r"time\.(time|monotonic|perf_counter|process_time|thread_time|clock_gettime)(_ns)?"
    r"|time\.(localtime|gmtime|ctime|asctime|strftime)"
    r"|datetime\.(datetime|date)\.(now|utcnow|today)"
    r"|(.*\.)?(loop|_loop|get_running_loop|get_event_loop)\.time"
)
# The client imports nothing of the server, its clock included.
CLOCK_READERS = ("ratelimitd.clock", "ratelimitd.cli.bench", "ratelimitd.client.clock")

ENVIRONMENT = re.compile(r"os\.(environb?|getenvb?|putenv|unsetenv)(\..*)?")
# `asgi` because a foreign server that imports it can hand in nothing.
ENVIRONMENT_READERS = ("ratelimitd.__main__", "ratelimitd.cli", "ratelimitd.asgi")

SOCKET = re.compile(
    r"socket(\..*)?"
    r"|asyncio\.(open_(unix_)?connection|start_(unix_)?server)"
    r"|(.*\.)?(loop|_loop|get_running_loop|get_event_loop)\.(create_\w*(connection|server|endpoint)|sock_\w+)"
)
SOCKET_USERS = (
    "ratelimitd.transports",
    "ratelimitd.http",
    "ratelimitd.stores.redis",
    "ratelimitd.cli",
    "ratelimitd.client",
    "ratelimitd.devkit",
)

FILE = re.compile(
    r"(open|io\.open)"
    r"|.*\.(read_text|read_bytes|write_text|write_bytes|iterdir|rglob|mkdir|unlink|is_file|is_dir|exists)"
)
FILE_READERS = re.compile(r"ratelimitd\.policy\.load\w*")

LUA = re.compile(r"redis\.p?call")
NAPLESS = ("tests.unit", "tests.contract", "tests.property")

Check = Callable[[Source], Iterator[str]]


def _uses(source: Source, pattern: re.Pattern[str], advice: str) -> Iterator[str]:
    for name, line in references(source):
        if pattern.fullmatch(name):
            yield f"{source.name}:{line}: `{name}`; {advice}"


def clock_read(source: Source) -> Iterator[str]:
    """Yield each reading of a clock outside the one module that owns it; a mention counts."""
    if not is_in(source.name, *CLOCK_READERS):
        yield from _uses(source, CLOCK, "only ratelimitd.clock reads a clock")


def environment_read(source: Source) -> Iterator[str]:
    """Yield each look at the environment outside the command line."""
    if not is_in(source.name, *ENVIRONMENT_READERS):
        yield from _uses(source, ENVIRONMENT, "the environment is read in __main__, cli and asgi")


def socket_used(source: Source) -> Iterator[str]:
    """Yield each use of sockets outside the parts that own connections."""
    if not is_in(source.name, *SOCKET_USERS):
        yield from _uses(source, SOCKET, "sockets belong to " + ", ".join(SOCKET_USERS))


def file_read(source: Source) -> Iterator[str]:
    """Yield each access to a file in the core but for the loaders of policies."""
    if source.area in CORE and not FILE_READERS.fullmatch(source.name):
        yield from _uses(source, FILE, "in the core only policy.load… touches files")


def lua_in_python(source: Source) -> Iterator[str]:
    """Yield a source that holds a Redis script: those are .lua files, which tools can read."""
    if LUA.search(source.text):
        yield f"{source.name}: a Redis script belongs in a .lua file"


def nap(source: Source) -> Iterator[str]:
    """Yield each sleep in a test below e2e, by whatever library: time is advanced there."""
    if is_in(source.name, *NAPLESS):
        for name, line in references(source):
            if name.rpartition(".")[2] == "sleep":
                yield f"{source.name}:{line}: `{name}`; advance the test's clock, or await an event"


SERVER_CHECKS: tuple[Check, ...] = (
    clock_read,
    environment_read,
    socket_used,
    file_read,
    lua_in_python,
)


@pytest.mark.parametrize("check", SERVER_CHECKS, ids=lambda check: check.__name__)
def test_the_package_keeps_the_rule(check: Check) -> None:
    """Time, settings and connections are handed in; only their owners fetch them."""
    assert_none(fault for source in server() for fault in check(source))


def test_no_test_below_e2e_sleeps() -> None:
    """A test that sleeps is slow and still guesses."""
    assert_none(fault for source in sources("tests") for fault in nap(source))


PLANTED = (
    (clock_read, "ratelimitd.limiter", "import time\nnow = time.time()"),
    (clock_read, "ratelimitd.accounts.alerts", "from time import monotonic_ns as now\nnow()"),
    (clock_read, "ratelimitd.http.api", "import time as t\ndef f(clock=t.monotonic): ..."),
    (clock_read, "ratelimitd.render", "from datetime import datetime, UTC\ndatetime.now(UTC)"),
    (clock_read, "ratelimitd.render", "import datetime as dt\ndt.date.today()"),
    (clock_read, "ratelimitd.app", "import asyncio\nasyncio.get_running_loop().time()"),
    (clock_read, "ratelimitd.app", "self._loop.time()"),
    (environment_read, "ratelimitd.settings", "import os\nos.environ['RATELIMITD_STORE']"),
    (environment_read, "ratelimitd.app", "from os import getenv\ngetenv('RATELIMITD_STORE')"),
    (environment_read, "ratelimitd.app", "from os import environ as env\nenv.get('HOME')"),
    (socket_used, "ratelimitd.accounts.webhooks", "import socket\nsocket.create_connection(a)"),
    (socket_used, "ratelimitd.app", "from asyncio import open_connection\nopen_connection()"),
    (socket_used, "ratelimitd.app", "loop.create_server(factory)"),
    (file_read, "ratelimitd.policy.match", "open('policy.yaml')"),
    (file_read, "ratelimitd.limiter", "from pathlib import Path\nPath('state').read_text()"),
    (lua_in_python, "ratelimitd.stores.redis.counters", "SCRIPT = 'return redis." + "call(1)'"),
    (nap, "tests.unit.test_window", "import time\ntime.sleep(1)"),
    (nap, "tests.contract.counters", "from asyncio import sleep as rest\nasync def f(): rest(1)"),
    (nap, "tests.property.test_laws", "import anyio\nasync def f(): await anyio.sleep(0.1)"),
)


@pytest.mark.parametrize(("check", "name", "text"), PLANTED)
def test_a_planted_reach_is_found(check: Check, name: str, text: str) -> None:
    """A check that finds nothing must be one that could have found something."""
    assert list(check(Source(name=name, text=text)))


ALLOWED = (
    ("ratelimitd.clock", "import time\ntime.time_ns()"),
    ("ratelimitd.cli.serve", "import os\nos.environ"),
    ("ratelimitd.transports.h2corn", "import socket\nsocket.socket()"),
    ("ratelimitd.policy.load", "from pathlib import Path\nPath('p').read_text()"),
    ("ratelimitd.limiter", "def f(time, now): return time.used + now.time"),
    ("ratelimitd.render", "from datetime import datetime, UTC\ndatetime.fromtimestamp(0, UTC)"),
    ("tests.e2e.test_envoy", "import time\ntime.sleep(1)"),
)


@pytest.mark.parametrize(("name", "text"), ALLOWED)
def test_an_allowed_reach_is_left_alone(name: str, text: str) -> None:
    """The checks object to no owner, and to no word that merely looks alike."""
    source = Source(name=name, text=text)
    assert_none(fault for check in (*SERVER_CHECKS, nap) for fault in check(source))
