"""grpcurl, as far as docs/grpcurl.md uses it: what it would print, and its exit status.

Like the real one it knows no message beforehand and asks server reflection (v1) for all. The real
one is no package that a lock file could pin for every machine; where it is installed, the
environment variable GRPCURL names it and the tests run it in place of this.
"""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Final

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from ratelimitd._gen.ratelimitd.internal.v1.status_pb2 import Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from google.protobuf.descriptor_pb2 import FieldDescriptorProto, ServiceDescriptorProto

REFLECTION: Final = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
REPEATED: Final = 3
SCALARS: Final = {8: "bool", 9: "string", 12: "bytes", 13: "uint32"}
FAILED: Final = 64
TRAILER: Final = "grpc-status-details-bin"
NAMES: Final = {grpc.StatusCode.INVALID_ARGUMENT: "InvalidArgument"}


async def grpcurl(arguments: Sequence[str]) -> tuple[str, int]:
    """Run grpcurl: all that it printed, and its exit status."""
    program = os.environ.get("GRPCURL")
    if not program:
        return await asyncio.to_thread(_run, arguments)
    process = await asyncio.create_subprocess_exec(
        *(program, *arguments), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return output.decode(), process.returncode


def _run(arguments: Sequence[str]) -> tuple[str, int]:
    """`-plaintext [-d JSON] ADDRESS list|describe|METHOD [SYMBOL]`."""
    plaintext, *rest = arguments
    assert plaintext == "-plaintext"
    data = "{}"
    if rest[0] == "-d":
        _, data, *rest = rest
    address, verb, *symbol = rest
    with grpc.insecure_channel(address) as channel:
        if verb == "list":
            return "".join(f"{name}\n" for name in _services(channel)), 0
        if verb == "describe":
            return "\n".join(_described(channel, *symbol)) + "\n", 0
        return _called(channel, verb, data)


def _ask(channel: grpc.Channel, question: ServerReflectionRequest) -> ServerReflectionResponse:
    call: grpc.StreamStreamMultiCallable[ServerReflectionRequest, ServerReflectionResponse]
    call = channel.stream_stream(
        REFLECTION,
        request_serializer=ServerReflectionRequest.SerializeToString,
        response_deserializer=ServerReflectionResponse.FromString,
    )
    (answer,) = call(iter([question]), timeout=5)
    return answer


def _services(channel: grpc.Channel) -> list[str]:
    answer = _ask(channel, ServerReflectionRequest(list_services=""))
    return sorted(service.name for service in answer.list_services_response.service)


def _files(channel: grpc.Channel, symbol: str) -> list[FileDescriptorProto]:
    """The file that defines `symbol`, and those it needs, which come along."""
    answer = _ask(channel, ServerReflectionRequest(file_containing_symbol=symbol))
    found = answer.file_descriptor_response.file_descriptor_proto
    return [FileDescriptorProto.FromString(file) for file in found]


def _described(channel: grpc.Channel, symbol: str) -> Iterator[str]:
    package, _, name = symbol.rpartition(".")
    (file,) = (file for file in _files(channel, symbol) if file.package == package)
    for service in (each for each in file.service if each.name == name):
        yield f"{symbol} is a service:"
        yield from _service_text(service)
    for message in (each for each in file.message_type if each.name == name):
        yield f"{symbol} is a message:"
        yield from _message_text(message)


def _service_text(service: ServiceDescriptorProto) -> Iterator[str]:
    yield f"service {service.name} {{"
    for method in service.method:
        signature = f"( {method.input_type} ) returns ( {method.output_type} )"
        yield f"  rpc {method.name} {signature};"
    yield "}"


def _message_text(message: DescriptorProto) -> Iterator[str]:
    yield f"message {message.name} {{"
    for field in message.field:
        yield f"  {_label(field)}{_type(field)} {field.name} = {field.number};"
    for nested in message.nested_type:
        yield from (f"  {line}" for line in _message_text(nested))
    yield "}"


def _label(field: FieldDescriptorProto) -> str:
    return "repeated " if field.label == REPEATED else ""


def _type(field: FieldDescriptorProto) -> str:
    return field.type_name or SCALARS[field.type]


def _pool(files: Sequence[FileDescriptorProto]) -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    for file in reversed(files):
        pool.Add(file)
    return pool


def _details(channel: grpc.Channel, trailer: bytes) -> str:
    """What the details of an error say: numbered, with the names that reflection knows."""
    text = ""
    for number, detail in enumerate(Status.FromString(trailer).details, 1):
        name = detail.type_url.rpartition("/")[2]
        found = _pool(_files(channel, name)).FindMessageTypeByName(name)
        said = message_factory.GetMessageClass(found).FromString(detail.value)
        fields = json_format.MessageToDict(said, preserving_proto_field_name=True)
        shown = json.dumps({"@type": detail.type_url, **fields}, indent=2)
        text += f"  {number})\t" + shown.replace("\n", "\n    \t") + "\n"
    return f"  Details:\n{text}" if text else ""


def _called(channel: grpc.Channel, path: str, data: str) -> tuple[str, int]:
    service, _, name = path.partition("/")
    files = _files(channel, service)
    pool = _pool(files)
    method = pool.FindServiceByName(service).methods_by_name[name]
    request = message_factory.GetMessageClass(method.input_type)()
    answer = message_factory.GetMessageClass(method.output_type)
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{path}")
    try:
        wire = call(json_format.Parse(data, request).SerializeToString(), timeout=5)
    except grpc.RpcError as error:
        status = NAMES[error.code()]
        text = f"ERROR:\n  Code: {status}\n  Message: {error.details()}\n"
        trailers: dict[str, bytes] = dict(error.trailing_metadata())  # type: ignore[arg-type]
        text += _details(channel, trailers.get(TRAILER, b""))
        return text, FAILED + error.code().value[0]
    # Names for JSON come from the descriptors, and Python's servers leave them out: it then prints
    # the names of the fields. Questions it reads with either.
    plain = not any(field.json_name for message in files[0].message_type for field in message.field)
    text = json_format.MessageToJson(answer.FromString(wire), preserving_proto_field_name=plain)
    return f"{text}\n", 0
