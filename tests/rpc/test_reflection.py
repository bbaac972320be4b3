"""Server reflection with a real client, under both of its names: what grpcurl asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_reflection.v1alpha import reflection_pb2

from ratelimitd.rpc.ratelimit import SERVICE
from tests.rpc.support.counting import tasks, until

if TYPE_CHECKING:
    from tests.rpc.support.calls import Client

Conversation = Any
"""grpcio's callable for a call with streams both ways; its own types miss most of it."""
Request = reflection_pb2.ServerReflectionRequest
NAMES = ["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"]
"""v1 is the same on the wire as v1alpha."""


@pytest.fixture(params=NAMES)
async def conversation(request: pytest.FixtureRequest, client: Client) -> Conversation:
    """Begins a conversation with either version."""
    return client.channel.stream_stream(
        f"/{request.param}/ServerReflectionInfo",
        request_serializer=Request.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )


async def ask(conversation: Conversation, **question: Any) -> Any:  # noqa: ANN401 - a response
    """Ask one question, and return its only answer."""
    answers = [answer async for answer in conversation(iter([Request(**question)]))]
    assert len(answers) == 1
    return answers[0]


async def test_list_services(conversation: Conversation) -> None:
    """Everything that this listener serves is listed."""
    answer = await ask(conversation, list_services="")
    assert {each.name for each in answer.list_services_response.service} == {
        SERVICE,
        "ratelimitd.v1.LimiterService",
        "grpc.health.v1.Health",
        *NAMES,
    }


@pytest.mark.parametrize("symbol", [SERVICE, "envoy.service.ratelimit.v3.RateLimitRequest"])
async def test_the_file_that_holds_a_symbol(conversation: Conversation, symbol: str) -> None:
    """A client without proto files gets them, so that it can make a request."""
    answer = await ask(conversation, file_containing_symbol=symbol)
    files = [
        descriptor_pb2.FileDescriptorProto.FromString(file)
        for file in answer.file_descriptor_response.file_descriptor_proto
    ]
    assert "envoy/service/ratelimit/v3/rls.proto" in {file.name for file in files}


@pytest.mark.parametrize("symbol", ["google.rpc.BadRequest", "google.rpc.ErrorInfo"])
async def test_the_details_of_errors_are_told_by_googles_names(
    conversation: Conversation, symbol: str
) -> None:
    """A client without proto files reads them too; the process's own pool knows nothing of it."""
    answer = await ask(conversation, file_containing_symbol=symbol)
    pool = descriptor_pool.DescriptorPool()
    for file in reversed(answer.file_descriptor_response.file_descriptor_proto):
        pool.AddSerializedFile(file)
    assert pool.FindMessageTypeByName(symbol).fields
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName(symbol)


async def test_a_symbol_that_is_not_here(conversation: Conversation) -> None:
    """An unknown symbol is NOT_FOUND within the answer; the call itself goes on."""
    answer = await ask(conversation, file_containing_symbol="no.Such")
    assert answer.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


async def test_several_questions_of_one_call_are_answered_in_order(
    conversation: Conversation,
) -> None:
    """A conversation: each question has its answer before the next is asked."""
    before = len(tasks())
    call = conversation()
    for name in ("google/protobuf/duration.proto", "envoy/type/v3/ratelimit_unit.proto"):
        await call.write(Request(file_by_filename=name))
        answer = await call.read()
        assert answer.original_request.file_by_filename == name
    await call.done_writing()
    assert await call.code() is grpc.StatusCode.OK
    await until(lambda: len(tasks()) <= before, "the conversation's tasks end")
