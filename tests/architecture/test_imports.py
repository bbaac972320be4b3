"""Which module may import which, and which library: imports point one way."""

import sys
from collections.abc import Callable, Iterator

import pytest

from tests.architecture.source import Source, area_of, assert_none, imports, is_in, server

# Bottom first. A module imports from lower lines only: not from its own line, never upwards.
LEVELS = (
    ("errors",),
    ("windows", "meters", "clock", "ids", "memo", "children", "background"),
    ("model",),
    ("algorithms", "keys", "telemetry", "tls"),
    ("policy", "stores"),
    ("decision",),
    ("calls",),
    ("settling",),
    ("limiter", "failure", "render", "reservations", "accounts", "settings"),
    ("transports", "rpc", "http"),
    ("listeners",),
    ("app",),
    ("asgi",),
    ("devkit", "testing"),
    ("cli",),
    ("__main__",),
)

# Beside the levels: what these may import of the package, and who may import them.
ASIDE = {
    "__init__": (set[str](), set[str]()),
    "_gen": (set[str](), {"rpc", "client"}),
    "client": ({"_gen"}, {"cli", "devkit", "testing"}),
}

# Pure: no I/O, no clock, no wire format.
CORE = {
    *("errors", "windows", "meters", "memo", "model", "algorithms", "keys"),
    *("policy", "decision", "calls", "settling", "limiter", "render"),
}
CORE_MAY_NOT_IMPORT = {"clock", "telemetry"}
# The policy file is YAML and pydantic validates it; no other library is of the core's business.
CORE_LIBRARIES = {"policy": {"pydantic", "pydantic_core", "yaml"}}
# Only the limiter may wait, for its ports; to wait is not to do I/O.
CORE_MODULES = {"limiter": {"asyncio"}}
IMPURE = {
    *(
        "asyncio",
        "concurrent",
        "ctypes",
        "fcntl",
        "glob",
        "http",
        "logging",
        "mmap",
        "multiprocessing",
    ),
    *(
        "os",
        "random",
        "secrets",
        "select",
        "selectors",
        "shutil",
        "signal",
        "socket",
        "sqlite3",
        "ssl",
    ),
    *("subprocess", "tempfile", "threading", "time", "urllib", "uuid"),
}

# The wire formats stay at the edge.
WIRE = {"rpc", "client"}

Check = Callable[[Source], Iterator[str]]


def level(area: str) -> int | None:
    """Return the line of an area in LEVELS."""
    return next((index for index, line in enumerate(LEVELS) if area in line), None)


def allowed(importer: str, imported: str) -> bool:
    """Tell whether one area may import another."""
    if imported in {importer, "__init__", "__version__"}:
        return True
    if importer in ASIDE:
        return imported in ASIDE[importer][0]
    if imported in ASIDE:
        return importer in ASIDE[imported][1]
    upper, lower = level(importer), level(imported)
    return upper is not None and lower is not None and lower < upper


def wrong_direction(source: Source) -> Iterator[str]:
    """Yield each import that does not point down, and a module that no line lists."""
    if level(source.area) is None and source.area not in ASIDE:
        yield f"{source.name}: `{source.area}` is on no line of LEVELS"
    for name, line in imports(source):
        if name.startswith("."):
            yield f"{source.name}:{line}: write the full name of `{name}`"
        elif is_in(name, "ratelimitd") and not allowed(source.area, area_of(name)):
            yield f"{source.name}:{line}: `{source.area}` may not import `{name}`"


def impure_core(source: Source) -> Iterator[str]:
    """Yield each import of the core that brings in I/O, a clock or a wire format."""
    if source.area not in CORE:
        return
    libraries = CORE_LIBRARIES.get(source.area, set())
    impure = IMPURE - CORE_MODULES.get(source.area, set())
    for name, line in imports(source):
        top = name.split(".", maxsplit=1)[0]
        foreign = top not in sys.stdlib_module_names | libraries | {"ratelimitd"}
        if (
            foreign
            or top in impure
            or (top == "ratelimitd" and area_of(name) in CORE_MAY_NOT_IMPORT)
        ):
            yield f"{source.name}:{line}: the core may not import `{name}`"


def stray_wire(source: Source) -> Iterator[str]:
    """Yield each import of generated messages outside the edge."""
    for name, line in imports(source):
        generated = is_in(name, "ratelimitd._gen") or any(
            part.endswith(("_pb2", "_pb2_grpc")) for part in name.split(".")
        )
        if generated and source.area not in WIRE:
            yield f"{source.name}:{line}: `{name}` belongs in {' or '.join(sorted(WIRE))}"


CHECKS: tuple[Check, ...] = (wrong_direction, impure_core, stray_wire)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_package_keeps_the_rule(check: Check) -> None:
    """Imports point down, the core is pure, and messages stay at the edge."""
    assert_none(fault for source in server() for fault in check(source))


PLANTED = (
    (wrong_direction, "ratelimitd.model", "from ratelimitd.limiter import Limiter"),
    (wrong_direction, "ratelimitd.model", "import ratelimitd.keys"),
    (wrong_direction, "ratelimitd.policy.load", "from ratelimitd.stores.ports import Counters"),
    (wrong_direction, "ratelimitd.rpc.health", "from ratelimitd import app"),
    (wrong_direction, "ratelimitd.limiter", "from .render import headers"),
    (wrong_direction, "ratelimitd.client", "from ratelimitd.model import Decision"),
    (wrong_direction, "ratelimitd.app", "from ratelimitd.client import Client"),
    (wrong_direction, "ratelimitd.unheard_of", '"""A module that the table does not know."""'),
    (wrong_direction, "ratelimitd.keys", "def f():\n    import_module('ratelimitd.app')"),
    (impure_core, "ratelimitd.limiter", "import grpc.aio"),
    (impure_core, "ratelimitd.render", "from google.protobuf import struct_pb2"),
    (impure_core, "ratelimitd.model", "if TYPE_CHECKING:\n    from redis.asyncio import Redis"),
    (impure_core, "ratelimitd.algorithms.lease", "import asyncio"),
    (impure_core, "ratelimitd.policy", "from ratelimitd.clock import Clock"),
    (impure_core, "ratelimitd.keys", "import yaml"),
    (stray_wire, "ratelimitd.app", "from ratelimitd._gen.envoy.type.v3 import ratelimit_unit_pb2"),
    (stray_wire, "ratelimitd.transports.grpcio", "from grpc_health.v1 import health_pb2_grpc"),
    (stray_wire, "ratelimitd.limiter", "import envoy.service.ratelimit.v3.rls_pb2 as rls"),
)


@pytest.mark.parametrize(("check", "name", "text"), PLANTED)
def test_a_planted_import_is_found(check: Check, name: str, text: str) -> None:
    """A check that finds nothing must be one that could have found something."""
    assert list(check(Source(name=name, text=text)))


ALLOWED = (
    ("ratelimitd.limiter", "import asyncio\nfrom ratelimitd.stores.ports import Counters"),
    ("ratelimitd.policy.load", "import yaml\nfrom pathlib import Path"),
    ("ratelimitd.stores.memory", "from ratelimitd.stores import ports"),
    ("ratelimitd.rpc.health", "from grpc_health.v1 import health_pb2"),
    ("ratelimitd.client", "from ratelimitd._gen.envoy.service.ratelimit.v3 import rls_pb2"),
    ("ratelimitd.cli.decide", "from ratelimitd.client import Client\nfrom ratelimitd import app"),
    ("ratelimitd.app", "from ratelimitd import __version__"),
)


@pytest.mark.parametrize(("name", "text"), ALLOWED)
def test_an_allowed_import_is_left_alone(name: str, text: str) -> None:
    """The checks object to nothing that the design draws."""
    source = Source(name=name, text=text)
    assert_none(fault for check in CHECKS for fault in check(source))


def test_the_package_was_read() -> None:
    """An empty package would keep every rule."""
    assert {"model", "errors", "clock"} <= {source.area for source in server()}
