"""What our own services share: how their requests are read, and how their errors end a call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf.message import DecodeError

from ratelimitd.errors import InvalidFieldsError, RateLimitdError
from ratelimitd.rpc import asking, rich

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import ModuleType

    from google.protobuf.message import Message

    from ratelimitd.rpc.ratelimit import Registrar
    from ratelimitd.rpc.rich import Context

Q = TypeVar("Q")
A = TypeVar("A")


async def answered(answer: Callable[[Q], Awaitable[A]], request: Q | None, context: Context) -> A:
    """Answer, or end the call with the status and the details of what is wrong with it."""
    try:
        if request is None:
            raise InvalidFieldsError.of(asking.NO_REQUEST)
        return await answer(request)
    except RateLimitdError as error:
        await rich.abort(context, error)


def parse_with(handlers: Registrar, generated: ModuleType, service: str) -> None:
    """Read the requests of all methods of a service so that its servicer answers for bad bytes."""
    found = generated.DESCRIPTOR.services_by_name[service]
    for method in found.methods:
        message = getattr(generated, method.input_type.name)
        handlers.parse_with(found.full_name, method.name, _parser(message))


def _parser(message: type[Message]) -> Callable[[bytes], Any]:
    """Return what reads a request: None where the bytes are none, which is the caller's fault."""

    def parse(wire: bytes) -> Message | None:
        try:
            return message.FromString(wire)
        except DecodeError:
            return None

    return parse
