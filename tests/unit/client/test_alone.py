"""The client stands alone: whoever imports it loads neither the server nor its libraries."""

from __future__ import annotations

import subprocess
import sys

ALONE = """
import sys
before = set(sys.modules)
import ratelimitd.client, ratelimitd.client.asgi
loaded = set(sys.modules) - before
ours = {name for name in loaded if name.startswith("ratelimitd.")}
wrong = {name for name in ours if not name.startswith(("ratelimitd.client", "ratelimitd._gen"))}
assert not wrong, wrong
tops = {name.partition(".")[0] for name in loaded} - set(sys.stdlib_module_names)
tops = {name for name in tops if "cython" not in name}
# grpcio by itself looks whether its siblings are installed.
siblings = {"grpc_health", "grpc_reflection", "grpc_tools", "grpc_status"}
assert tops <= {"ratelimitd", "grpc", "google", "typing_extensions"} | siblings, tops
"""

BESIDE_GOOGLES = """
from google.rpc import error_details_pb2, status_pb2
import ratelimitd.client
from ratelimitd._gen.ratelimitd.internal.v1 import status_pb2 as ours

bad = ours.BadRequest()
bad.field_violations.add(field="f", description="d")
told = ours.Status(code=3, message="m")
info = ours.ErrorInfo(reason="R", domain="d", metadata={"k": "v"})
for name, detail in (("BadRequest", bad), ("ErrorInfo", info)):
    kind = "type.googleapis.com/google.rpc." + name
    told.details.add(type_url=kind, value=detail.SerializeToString())

read = status_pb2.Status.FromString(told.SerializeToString())
assert (read.code, read.message) == (3, "m")
theirs = error_details_pb2.BadRequest()
assert read.details[0].Unpack(theirs)
assert [(each.field, each.description) for each in theirs.field_violations] == [("f", "d")]
theirs = error_details_pb2.ErrorInfo()
assert read.details[1].Unpack(theirs)
assert (theirs.reason, theirs.domain, dict(theirs.metadata)) == ("R", "d", {"k": "v"})
"""


def run(program: str) -> None:
    """Run a program in a process of its own, where nothing has been imported."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_importing_the_client_loads_grpcio_and_protobuf_and_nothing_of_the_server() -> None:
    """A service that asks needs no policy reader, no store, no HTTP server."""
    run(ALONE)


def test_its_errors_are_googles_on_the_wire_and_live_beside_googles_own() -> None:
    """Status and its details as every gRPC library reads them; descriptors do not clash."""
    run(BESIDE_GOOGLES)
