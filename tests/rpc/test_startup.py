"""A limiter that cannot start says why, and holds nothing afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
from typing import TYPE_CHECKING, Any

import grpc.aio
import pytest

from ratelimitd.errors import SettingsError
from ratelimitd.settings import Address
from ratelimitd.transports.sockets import IN_USE, refuse_in_use
from tests.rpc.support.calls import OK, Client
from tests.rpc.support.counting import descriptors, tasks, until
from tests.rpc.support.serving import LOOPBACK, prepare, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def taken() -> Iterator[Address]:
    """An address that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield Address("127.0.0.1", server.getsockname()[1])


def free() -> Address:
    """Return an address that was free a moment ago: a test must know it before the start."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return Address("127.0.0.1", server.getsockname()[1])


async def is_open(address: Address) -> bool:
    """Say whether anybody listens there."""
    try:
        _, writer = await asyncio.open_connection(address.host, address.port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


FLAGS = {"listen": "--listen", "http": "--http", "admin": "--admin"}


@pytest.mark.parametrize("listener", FLAGS)
async def test_a_taken_port_is_told_and_nothing_stays_open(
    transport: str, tmp_path: Path, taken: Address, listener: str
) -> None:
    """Whichever of the three listeners fails: SettingsError with its flag, no listener, no task."""
    wanted: dict[str, Any] = {name: free() for name in FLAGS}
    wanted[listener] = taken
    before = tasks()
    service = prepare(transport, tmp_path, **wanted | {"listen": (wanted["listen"],)})
    with pytest.raises(SettingsError, match=f"^{FLAGS[listener]}: .*{taken.port}"):
        await service.start()

    assert not service.is_ready
    await until(lambda: tasks() <= before, "the tasks end")
    for name, address in wanted.items():
        if name != listener:
            assert not await is_open(address)
    await service.stop()


async def test_starts_that_fail_leave_no_descriptor(
    transport: str, tmp_path: Path, taken: Address
) -> None:
    """A limiter that a supervisor starts again and again has as many files open as at first."""
    opened = []
    for _ in range(4):
        service = prepare(transport, tmp_path, listen=(free(), taken))
        with pytest.raises(SettingsError):
            await service.start()
        del service
        gc.collect()  # grpcio closes some of its own only with the server object
        opened.append(descriptors())
    await until(lambda: descriptors() <= opened[0], "the descriptors are closed")


async def test_the_second_of_two_grpc_addresses_fails(
    transport: str, tmp_path: Path, taken: Address
) -> None:
    """An address that could be had is let go again, so that the next start can have it."""
    first = free()
    before = tasks()
    service = prepare(transport, tmp_path, listen=(first, taken))
    with pytest.raises(SettingsError, match=r"^--listen: "):
        await service.start()
    await until(lambda: tasks() <= before, "the tasks end")
    assert not await is_open(first)


async def test_after_a_failure_the_same_addresses_can_be_served(
    transport: str, tmp_path: Path, taken: Address
) -> None:
    """The twin: the addresses of the failed start are free, and a listener there is seen."""
    first = free()
    with pytest.raises(SettingsError):
        await prepare(transport, tmp_path, listen=(first,), http=taken).start()
    async with (
        running(transport, tmp_path, listen=(first,)) as service,
        grpc.aio.insecure_channel(service.addresses["grpc"][0]) as channel,
    ):
        assert await Client(channel).code("api_key=a") == OK
        assert await is_open(first)


async def test_h2corn_refuses_a_mix_of_free_and_given_ports_in_words(tmp_path: Path) -> None:
    """What only one transport cannot do is a fault of settings, not a traceback."""
    service = prepare("h2corn", tmp_path, listen=(LOOPBACK, free()))
    with pytest.raises(SettingsError, match=r"^--listen: cannot listen on 127\.0\.0\.1:0, "):
        await service.start()


@pytest.mark.parametrize("path", ["missing/rls.sock", "x" * 200])
async def test_a_socket_that_cannot_be_made(transport: str, tmp_path: Path, path: str) -> None:
    """A folder that is not there, or too long a name: the operator is told, as with a port."""
    before = tasks()
    service = prepare(transport, tmp_path, listen=(Address(path=str(tmp_path / path)),))
    with pytest.raises(SettingsError, match=r"^--listen: cannot listen on unix:"):
        await service.start()
    await until(lambda: tasks() <= before, "the tasks end")


async def test_a_socket_file_left_by_a_crash_is_replaced(transport: str, tmp_path: Path) -> None:
    """A limiter that was killed starts again at the same unix socket."""
    path = tmp_path / "rls.sock"
    crashed = socket.socket(socket.AF_UNIX)
    crashed.bind(str(path))
    crashed.close()
    async with (
        running(transport, tmp_path, listen=(Address(path=str(path)),)) as service,
        grpc.aio.insecure_channel(service.addresses["grpc"][0]) as channel,
    ):
        assert await Client(channel).code("api_key=a") == OK


@pytest.mark.parametrize("listener", FLAGS)
async def test_a_socket_in_use_stays_with_its_server(
    transport: str, tmp_path: Path, listener: str
) -> None:
    """Else Envoy's calls would go to the second limiter and, once that stops, to nobody."""
    path = tmp_path / "rls.sock"
    place = Address(path=str(path))
    async with running(transport, tmp_path, listen=(place,)) as service:
        wanted: dict[str, Any] = {listener: (place,) if listener == "listen" else place}
        second = prepare(transport, tmp_path, **wanted)
        refused = f"^{FLAGS[listener]}: cannot listen on {place}: {IN_USE}$"
        with pytest.raises(SettingsError, match=refused):
            await second.start()
        async with grpc.aio.insecure_channel(service.addresses["grpc"][0]) as channel:
            assert await Client(channel).code("api_key=a") == OK


def test_a_socket_whose_server_is_too_busy_to_accept_is_in_use(tmp_path: Path) -> None:
    """The look at a socket neither waits for its server nor takes it for a dead one."""
    place = Address(path=str(tmp_path / "rls.sock"))
    with contextlib.ExitStack() as stack:
        busy = stack.enter_context(socket.socket(socket.AF_UNIX))
        busy.bind(place.path)
        busy.listen(0)
        waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
        waiting.connect(place.path)
        with pytest.raises(SettingsError, match=IN_USE):
            refuse_in_use((place,))


async def test_a_file_in_a_sockets_place_is_kept(transport: str, tmp_path: Path) -> None:
    """A slip of the pen in `--listen` deletes nobody's file."""
    path = tmp_path / "precious"
    path.write_text("data")
    service = prepare(transport, tmp_path, listen=(Address(path=str(path)),))
    with pytest.raises(SettingsError):
        await service.start()
    assert path.read_text() == "data"


async def test_a_start_that_is_cancelled_leaves_nothing(transport: str, tmp_path: Path) -> None:
    """A signal during the start ends what has begun."""
    before = tasks()
    service = prepare(transport, tmp_path, listen=(LOOPBACK,))
    starting = asyncio.ensure_future(service.start())
    await asyncio.sleep(0)
    starting.cancel()
    await asyncio.wait({starting})
    await until(lambda: tasks() <= before, "the tasks end")
