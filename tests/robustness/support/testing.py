"""gRPC's own test service, as much of it as a unary server needs, for any of our transports.

The messages are our transcription of grpc.testing's (names, numbers and types; no comments), made
at run time, because nothing of them ships. Servers and clients use the same.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from ratelimitd.transports.handlers import Method

if TYPE_CHECKING:
    from ratelimitd.transports.handlers import Handlers

PACKAGE: Final = "grpc.testing"
SERVICE: Final = f"{PACKAGE}.TestService"
INITIAL: Final = "x-grpc-test-echo-initial"
TRAILING: Final = "x-grpc-test-echo-trailing-bin"
_FIELDS: Final = {
    "Empty": "",
    "BoolValue": "value:bool=1",
    "Payload": "type:int32=1 body:bytes=2",
    "EchoStatus": "code:int32=1 message:string=2",
    "SimpleRequest": (
        "response_type:int32=1 response_size:int32=2 payload:Payload=3 fill_username:bool=4 "
        "fill_oauth_scope:bool=5 response_compressed:BoolValue=6 response_status:EchoStatus=7 "
        "expect_compressed:BoolValue=8"
    ),
    "SimpleResponse": "payload:Payload=1 username:string=2 oauth_scope:string=3",
}


def _file() -> descriptor_pb2.FileDescriptorProto:
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="tests/grpc_testing.proto", package=PACKAGE, syntax="proto3"
    )
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for field in fields.split():
            label, _, rest = field.partition(":")
            kind, _, number = rest.partition("=")
            made = message.field.add(name=label, number=int(number), label=kinds.LABEL_OPTIONAL)
            if kind in _FIELDS:
                made.type, made.type_name = kinds.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
            else:
                made.type = kinds.Type.Value(f"TYPE_{kind.upper()}")
    return file


_POOL: Final = descriptor_pool.DescriptorPool()
_POOL.Add(_file())


def message(name: str) -> Any:  # noqa: ANN401 - classes that are made at run time
    """Return a message's class."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{PACKAGE}.{name}"))


Empty: Final = message("Empty")
SimpleRequest: Final = message("SimpleRequest")
SimpleResponse: Final = message("SimpleResponse")


async def _empty_call(_: Any, __: Any) -> Any:  # noqa: ANN401
    return Empty()


async def _unary_call(request: Any, context: Any) -> Any:  # noqa: ANN401
    """Echo what the metadata and the message ask for."""
    sent = dict(context.invocation_metadata())
    if INITIAL in sent:
        await context.send_initial_metadata(((INITIAL, sent[INITIAL]),))
    if TRAILING in sent:
        context.set_trailing_metadata(((TRAILING, sent[TRAILING]),))
    if request.HasField("response_status"):
        status = request.response_status
        code = next(each for each in grpc.StatusCode if each.value[0] == status.code)
        await context.abort(code, status.message)
    answer = SimpleResponse()
    answer.payload.body = bytes(request.response_size)
    return answer


async def _sleeping_call(_: Any, __: Any) -> Any:  # noqa: ANN401
    """Stand in for the streaming call that the suite's two cases leave without an answer."""
    await asyncio.Event().wait()


def _serialize(answer: Any) -> bytes:  # noqa: ANN401
    written: bytes = answer.SerializeToString()
    return written


METHODS: Final = {
    name: Method(behavior, request.FromString, _serialize, False, False)
    for name, behavior, request in (
        ("EmptyCall", _empty_call, Empty),
        ("UnaryCall", _unary_call, SimpleRequest),
        ("SleepingCall", _sleeping_call, SimpleRequest),
    )
}


def register(handlers: Handlers) -> None:
    """Add the service to a limiter's."""
    handlers.services[SERVICE] = METHODS
