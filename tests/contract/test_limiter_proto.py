"""proto/ratelimitd/v1 keeps the rules of a public interface: versioned, named alike, all told.

The rules are those of buf's STANDARD category as far as they concern one package; each is also
held against a proto that breaks it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_tools import protoc

from tests.architecture.source import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "ratelimitd/v1/limiter.proto"
PASCAL = re.compile(r"([A-Z][a-z0-9]+)+")
SNAKE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
FILE_MESSAGE, FILE_ENUM, FILE_SERVICE = 4, 5, 6
MESSAGE_FIELD, MESSAGE_NESTED, ENUM_VALUE, SERVICE_METHOD = 2, 3, 2, 2


def compiled(text: str, folder: Path) -> FileDescriptorProto:
    """Return what protoc makes of a proto, with its comments."""
    file = folder / NAME
    file.parent.mkdir(parents=True)
    file.write_text(text, "utf-8")
    out = folder / "set"
    google = ROOT / protoc.__file__.rpartition("/")[0] / "_proto"
    options = (f"--proto_path={folder}", f"--proto_path={google}", f"--descriptor_set_out={out}")
    assert protoc.main(["protoc", *options, "--include_source_info", NAME]) == 0
    return FileDescriptorSet.FromString(out.read_bytes()).file[0]


def snake(name: str) -> str:
    """Return a name in PascalCase as UPPER_SNAKE_CASE."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper()


def misnamed(file: FileDescriptorProto) -> Iterator[str]:
    """Yield each name that is not as its kind is named."""
    if not re.fullmatch(r"[a-z]+(\.[a-z]+)*\.v[0-9]+", file.package):
        yield f"package {file.package} has no version"
    if file.name.rpartition("/")[0].replace("/", ".") != file.package:
        yield f"{file.name} does not lie where its package says"
    for message in file.message_type:
        if not PASCAL.fullmatch(message.name):
            yield f"message {message.name}"
        yield from (f"field {f.name}" for f in message.field if not SNAKE.fullmatch(f.name))
    for enum in file.enum_type:
        prefix = f"{snake(enum.name)}_"
        yield from (f"value {v.name}" for v in enum.value if not v.name.startswith(prefix))
        if (enum.value[0].name, enum.value[0].number) != (f"{prefix}UNSPECIFIED", 0):
            yield f"enum {enum.name} does not begin with {prefix}UNSPECIFIED"


def shared(file: FileDescriptorProto) -> Iterator[str]:
    """Yield each method whose request or response is not its own, and a service's odd name."""
    for service in file.service:
        if not service.name.endswith("Service"):
            yield f"service {service.name}"
        for method in service.method:
            for kind, name in (("Request", method.input_type), ("Response", method.output_type)):
                if name != f".{file.package}.{method.name}{kind}":
                    yield f"{method.name} has {name}"


def untold(file: FileDescriptorProto) -> Iterator[str]:
    """Yield each path in the descriptor that has no comment before it."""
    told = {
        tuple(location.path)
        for location in file.source_code_info.location
        if location.leading_comments.strip()
    }
    wanted: list[tuple[tuple[int, ...], str]] = []
    for at, message in enumerate(file.message_type):
        wanted.append(((FILE_MESSAGE, at), message.name))
        wanted += (
            ((FILE_MESSAGE, at, MESSAGE_FIELD, index), f"{message.name}.{field.name}")
            for index, field in enumerate(message.field)
        )
    for at, enum in enumerate(file.enum_type):
        wanted.append(((FILE_ENUM, at), enum.name))
        wanted += (
            ((FILE_ENUM, at, ENUM_VALUE, index), value.name)
            for index, value in enumerate(enum.value)
        )
    for at, service in enumerate(file.service):
        wanted.append(((FILE_SERVICE, at), service.name))
        wanted += (
            ((FILE_SERVICE, at, SERVICE_METHOD, index), method.name)
            for index, method in enumerate(service.method)
        )
    yield from (name for path, name in wanted if path not in told)


TEXT = (ROOT / "proto" / NAME).read_text("utf-8")


def faults(text: str, folder: Path) -> list[str]:
    """Return all that is wrong with a proto."""
    file = compiled(text, folder)
    return [*misnamed(file), *shared(file), *untold(file)]


def test_the_public_proto_keeps_the_rules(tmp_path: Path) -> None:
    """Versioned, named as everybody's are, and every name explained."""
    assert faults(TEXT, tmp_path) == []


PLANTED = {
    "package ratelimitd.v1;": ("package ratelimitd.limiter;", "has no version"),
    "service LimiterService": ("service Limiter", "service Limiter"),
    "returns (RenewResponse)": ("returns (ReleaseResponse)", "Renew has"),
    "  // To release and to renew it by.\n": ("", "Lease.id"),
    "REASON_UNSPECIFIED = 0;": ("REASON_NONE = 0;", "does not begin with"),
    "  OUTCOME_SETTLED = 1;": ("  DONE = 1;", "value DONE"),
    "  string reservation_id = 1;": ("  string reservationId = 1;", "field reservationId"),
}


@pytest.mark.parametrize("said", PLANTED)
def test_a_planted_fault_is_found(tmp_path: Path, said: str) -> None:
    """A check that finds nothing must be one that could have found something."""
    instead, found = PLANTED[said]
    assert said in TEXT
    assert any(found in fault for fault in faults(TEXT.replace(said, instead), tmp_path))


def test_the_callers_of_all_requests_are_the_same(tmp_path: Path) -> None:
    """Domain, caller and entries have one number each, so that a request is easily made another."""
    file = compiled(TEXT, tmp_path)
    common = {"domain": 1, "api_key": 2, "subject": 3, "entries": 4}
    for message in file.message_type:
        if message.name.endswith("Request") and message.name != "SettleRequest":
            numbers = {field.name: field.number for field in message.field}
            assert common.items() <= numbers.items(), message.name
