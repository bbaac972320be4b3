"""Limiters with something planted: a test service, or a weakness that its row has to find.

`program` is what `run_limiter` runs. On pyvoy a process is two programs, one before Envoy and one
within; both get the plant.
"""

from __future__ import annotations

import asyncio
import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.robustness.support import testing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ROOT: Final = Path(__file__).parents[3]
VARIABLE: Final = "TESTS_PLANTED"
_KEPT: Final[list[object]] = []


def program(name: str) -> str:
    """Return Python that runs the command line with a plant."""
    return (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        f"from tests.robustness.support import planted; planted.main({name!r})"
    )


def main(name: str) -> None:
    """Run the command line."""
    os.environ[VARIABLE] = name
    _module("cli.inside_envoy").APPLICATION = f"{__package__}.inside:application"
    plant(name)
    _module("__main__").main()


def plant(name: str) -> None:
    """Change what the limiter is made of."""
    PLANTS[name]()


def _module(name: str) -> Any:  # noqa: ANN401 - a module whose parts are to be replaced
    return importlib.import_module(f"ratelimitd.{name}")


def _test_service() -> None:
    """Mount gRPC's test service beside our own."""
    reflection = _module("rpc.reflection")
    register = reflection.register

    def both(handlers: Any, names: Any) -> None:  # noqa: ANN401
        register(handlers, names)
        testing.register(handlers)

    reflection.register = both
    served = _module("rpc.served")
    ours = (*served.paths(), *(f"/{testing.SERVICE}/{name}" for name in testing.METHODS))
    served.paths = lambda: ours


def _no_body_bound() -> None:
    """Take any body: the bounds of the adapter, of h2corn and of grpcio are gone."""
    listeners = _module("listeners")
    bounded = listeners.GrpcApplication
    listeners.GrpcApplication = lambda paths: bounded(paths, 1 << 30)
    _module("transports.h2corn")._BODY = 1 << 30
    _set_options("grpc.max_receive_message_length")


def _no_header_bound() -> None:
    """Take any headers."""
    _module("transports.h2corn").HEADERS = 1 << 20
    _set_options("grpc.max_metadata_size", "grpc.absolute_max_metadata_size")
    config = _module("transports.pyvoy_config")
    ours = config._typed

    def generous(name: str, kind: str, **fields: Any) -> Any:  # noqa: ANN401
        if "max_request_headers_kb" in fields:
            fields["max_request_headers_kb"] = 1024
        return ours(name, kind, **fields)

    config._typed = generous


def _health_not_drained() -> None:
    """Say SERVING to the end."""
    _module("rpc.health").Health.drain = lambda _: None


def _policies_read_in_the_loop() -> None:
    """Read a policy in the event loop, so that every call waits for it."""
    app = _module("app")

    class Threadless:
        async def to_thread(self, function: Any, *arguments: Any) -> Any:  # noqa: ANN401
            return function(*arguments)

        def __getattr__(self, name: str) -> Any:  # noqa: ANN401
            return getattr(asyncio, name)

    app.asyncio = Threadless()


def _goaway_without_waiting() -> None:
    """Stop without a grace: whatever is under way is cut."""
    service = _module("app").Service
    stop = service.stop

    async def at_once(self: Any, grace: float = 0) -> None:  # noqa: ANN401
        await stop(self, grace=0 * grace)

    service.stop = at_once
    _module("transports.h2corn").BOUNDS["timeout_graceful_shutdown"] = 0.1  # it drains by itself


def _decisions(before: Callable[[], Awaitable[object]]) -> Callable[[], None]:
    """Return a plant that does something before each decision."""

    def plant_it() -> None:
        rpc = _module("rpc.ratelimit")
        register = rpc.register

        def both(handlers: Any, *more: Any) -> None:  # noqa: ANN401
            register(handlers, *more)
            methods = handlers.services[rpc.SERVICE]
            ours = methods["ShouldRateLimit"]

            async def behavior(request: Any, context: Any) -> Any:  # noqa: ANN401
                await before()
                return await ours.behavior(request, context)

            methods["ShouldRateLimit"] = ours._replace(behavior=behavior)

        rpc.register = both

    return plant_it


async def _fail() -> None:
    raise ValueError("planted")


async def _exit() -> None:
    os._exit(1)


async def _leak() -> None:
    """Keep something of each call, and now and then a descriptor and a task that never ends."""
    _KEPT.append(bytearray(1_000))
    if len(_KEPT) % 1_000 == 0:
        _KEPT.append(os.dup(2))
        _KEPT.append(asyncio.ensure_future(asyncio.Event().wait()))


def _set_options(*names: str) -> None:
    module = _module("transports.grpcio")
    module._OPTIONS = (
        *(option for option in module._OPTIONS if option[0] not in names),
        *((name, 1 << 30) for name in names),
    )


def _gone_at_once() -> None:
    """Take all manners from the end, and leave it calls to cut."""
    _health_not_drained()
    _goaway_without_waiting()
    _decisions(lambda: asyncio.sleep(0.05))()


PLANTS: Final[dict[str, Callable[[], None]]] = {
    "a test service": _test_service,
    "3 ms a decision": _decisions(lambda: asyncio.sleep(0.003)),  # a store behind a network
    "decisions that fail": _decisions(_fail),
    "decisions that never come": _decisions(lambda: asyncio.Event().wait()),
    "decisions that end the process": _decisions(_exit),
    "policies read in the loop": _policies_read_in_the_loop,
    "a leak": _decisions(_leak),
    "no body bound": _no_body_bound,
    "no header bound": _no_header_bound,
    "health not drained": _health_not_drained,
    "GOAWAY without waiting": _goaway_without_waiting,
    "gone at once": _gone_at_once,
}
