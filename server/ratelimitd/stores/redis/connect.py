"""Opens connections to the writable server of a `Target`, with redis-py's handshake.

A connection is used by one `Link` from then on. Nothing here retries: redis-py's own retries would
send a command twice, which charges twice; when to try again is the link's to say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError

from ratelimitd.errors import StoreUnavailableError
from ratelimitd.stores.redis.urls import SENTINEL, Target

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from redis.asyncio.connection import AbstractConnection

    Connector = Callable[[], Awaitable[AbstractConnection]]

CONNECT_WITHIN = 2.0
"""Seconds for a connection and its handshake."""


def connector(target: Target) -> Connector:
    """Return what opens a connection to the target's primary. Raises `StoreUnavailableError`."""

    async def open_one() -> AbstractConnection:
        address = target.addresses[0] if target.addresses else None
        if target.kind == SENTINEL:
            address = await _primary(target)
        return await to_address(target, address)

    return open_one


async def to_address(target: Target, address: tuple[str, int] | None) -> AbstractConnection:
    """Open a connection to one server of the target; None: its unix socket."""
    connection = _made(target, address)
    where = target.path if address is None else f"{address[0]}:{address[1]}"
    try:
        await connection.connect()  # type: ignore[no-untyped-call]  # redis-py types it by half
        await connection.send_command("ROLE")
        role = await connection.read_response(disable_decoding=True, timeout=CONNECT_WITHIN)
    except AuthenticationError as error:
        await connection.disconnect(nowait=True)
        msg = f"Redis at {where} refuses the name or the password of --store"
        raise StoreUnavailableError(msg) from error
    except (RedisError, OSError) as error:
        await connection.disconnect(nowait=True)
        if "NOPERM" in str(error):  # who may not ask for the role is not told of a replica either
            msg = f"Redis at {where} forbids ROLE to the user of --store (docs/redis.md)"
        else:
            msg = f"Redis at {where} cannot be reached: {_first_line(error)}"
        raise StoreUnavailableError(msg) from error
    if not role or role[0] != b"master":
        await connection.disconnect(nowait=True)
        msg = f"Redis at {where} is a replica, which cannot count"
        raise StoreUnavailableError(msg)
    return connection


def _made(target: Target, address: tuple[str, int] | None) -> AbstractConnection:
    common: dict[str, Any] = {
        "db": target.db,
        "username": target.username,
        "password": target.password,
        "socket_timeout": None,
        "socket_connect_timeout": CONNECT_WITHIN,
        "client_name": "ratelimitd",
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        "decode_responses": False,
    }
    if address is None:
        return UnixDomainSocketConnection(path=target.path, **common)
    host, port = address
    placed = {"host": host, "port": port, "socket_keepalive": True, **common}
    if not target.tls:
        return Connection(**placed)
    return SSLConnection(
        ssl_ca_certs=target.ca or None,
        ssl_certfile=target.cert or None,
        ssl_keyfile=target.key or None,
        ssl_check_hostname=True,
        **placed,
    )


async def _primary(target: Target) -> tuple[str, int]:
    """Ask the Sentinels who the primary is now."""
    own: dict[str, Any] = {
        "username": target.sentinel_username,
        "password": target.sentinel_password,
        "socket_timeout": CONNECT_WITHIN,
        "socket_connect_timeout": CONNECT_WITHIN,
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
    }
    addresses = list(target.addresses)
    sentinel = Sentinel(addresses, sentinel_kwargs=own)  # type: ignore[no-untyped-call]  # as above
    try:
        host, port = await sentinel.discover_master(target.service)
    except (RedisError, OSError) as error:
        msg = f"no Sentinel knows a primary of {target.service}: {_first_line(error)}"
        raise StoreUnavailableError(msg) from error
    finally:
        for each in sentinel.sentinels:
            await each.aclose()
    return str(host), int(port)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
