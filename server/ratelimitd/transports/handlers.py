"""The servicers' methods, as the generated `add_…Servicer_to_server` functions hand them over.

`Handlers` stands in for a `grpc.aio.Server` while servicers register, so that every transport
serves the same methods. Knows no transport.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


class Method(NamedTuple):
    """One method of a servicer."""

    behavior: Callable[[Any, Any], Any]
    """(request or requests, context) to what the servicer returns."""
    parse: Callable[[bytes], Any]
    """A request's bytes to the message."""
    serialize: Callable[[Any], bytes]
    """A response message to its bytes."""
    request_streaming: bool
    response_streaming: bool

    @property
    def unary(self) -> bool:
        """Whether one message goes each way."""
        return not (self.request_streaming or self.response_streaming)


class Handlers:
    """Methods of services, by their names."""

    def __init__(self) -> None:
        self.services: dict[str, dict[str, Method]] = {}
        """Service name to method name to method."""

    def add_generic_rpc_handlers(self, handlers: Iterable[object]) -> None:
        """Called by generated code; the registered handlers below say the same."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Called by generated code: take a service's methods (`grpc.RpcMethodHandler`)."""
        self.services[service] = {
            name: Method(
                handler.unary_unary
                or handler.unary_stream
                or handler.stream_unary
                or handler.stream_stream,
                handler.request_deserializer,
                handler.response_serializer,
                handler.request_streaming,
                handler.response_streaming,
            )
            for name, handler in handlers.items()
        }

    def parse_with(self, service: str, method: str, parse: Callable[[bytes], Any]) -> None:
        """Read the requests of a method by other means than its message's own parser."""
        self.services[service][method] = self.services[service][method]._replace(parse=parse)

    def answer_with(self, service: str, method: str, behavior: Callable[[Any, Any], Any]) -> None:
        """Answer a method by what returns the bytes of its responses, and no messages."""
        methods = self.services[service]
        methods[method] = methods[method]._replace(behavior=behavior, serialize=bytes)

    def paths(self) -> dict[str, Method]:
        """Return all methods by path (`/package.Service/Method`)."""
        return {
            f"/{service}/{name}": method
            for service, methods in self.services.items()
            for name, method in methods.items()
        }
