"""Server reflection, so that grpcurl needs no proto files.

The `v1` name is served beside `v1alpha`: the messages are the same on the wire, and current clients
ask for `v1` first. The details of errors are known under Google's names here, and only here: in a
pool of its own, where they meet nobody else's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from ratelimitd._gen.ratelimitd.internal.v1 import status_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, Protocol

    from google.protobuf.descriptor import FileDescriptor

    class Registrar(Protocol):
        """What methods are registered with (`transports.handlers.Handlers`)."""

        services: dict[str, dict[str, Any]]

        def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
            """Take a service's methods."""
            ...


V1 = "grpc.reflection.v1.ServerReflection"


def _pool(services: Iterable[str]) -> descriptor_pool.DescriptorPool:
    """Return what is told of: the services' files with all that they import, and error details."""
    pool = descriptor_pool.DescriptorPool()
    known: set[str] = set()

    def add(file: FileDescriptor) -> None:
        if file.name not in known:
            known.add(file.name)
            for each in file.dependencies:
                add(each)
            pool.AddSerializedFile(file.serialized_pb)

    default = descriptor_pool.Default()
    for name in services:
        add(default.FindFileContainingSymbol(name))
    details = FileDescriptorProto(name="google/rpc/error_details.proto", package="google.rpc")
    details.syntax = "proto3"
    ours = FileDescriptorProto.FromString(status_pb2.DESCRIPTOR.serialized_pb)
    details.message_type.extend(each for each in ours.message_type if each.name != "Status")
    pool.Add(_renamed(details, ours.package))
    return pool


def _renamed(file: FileDescriptorProto, package: str) -> FileDescriptorProto:
    """Return a file whose messages refer to each other under its own package."""
    for message in file.message_type:
        for field in (each for each in message.field if each.type_name):
            field.type_name = field.type_name.replace(f".{package}.", f".{file.package}.", 1)
    return file


def register(handlers: Registrar, services: Iterable[str]) -> None:
    """Serve reflection of those services and of itself."""
    found = (*services, reflection.SERVICE_NAME)
    servicer = reflection.aio.ReflectionServicer((*found, V1), pool=_pool(found))
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, handlers)
    handlers.services[V1] = handlers.services[reflection.SERVICE_NAME]
