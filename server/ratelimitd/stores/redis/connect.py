"""How a connection is opened: address by address, TLS, credentials, and whether it is the primary.

Every way to fail is one `StoreUnavailableError` with one sentence that holds no secret. Owns no
connection once it is open, and tries once: when to try again is the link's to say.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING, Protocol

from redis.exceptions import ResponseError

from ratelimitd.errors import StoreUnavailableError
from ratelimitd.stores.redis.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratelimitd.stores.redis.connection import Reply
    from ratelimitd.stores.redis.urls import Target, TlsSettings

NAME = "ratelimitd"
"""What CLIENT LIST calls us."""
WITHIN = 2.0
"""Seconds to connect, over all addresses of a name, and again to be let in."""
SENTINEL_WITHIN = 0.5
"""Seconds for one Sentinel to say where the primary is."""
_FORBIDDEN = "NOPERM"

_Address = tuple[str, int]


class Connector(Protocol):
    """Opens connections to one server, or to whichever is the primary now."""

    @property
    def name(self) -> str:
        """What logs and figures call the server."""
        ...

    async def __call__(self) -> Connection:
        """Return a connection that is let in. Raises `StoreUnavailableError`."""
        ...


class Direct:
    """Connects to a server by its address, or by the path of its socket."""

    def __init__(
        self, target: Target, address: _Address | None = None, *, any_role: bool = False
    ) -> None:
        """Connect to `address` instead of the target's; `any_role`: a replica will do."""
        self._target = target
        self._address = address or next(iter(target.addresses), None)
        self._any_role = any_role
        self.name = shown(self._address) if self._address else f"unix:{target.path}"

    async def __call__(self) -> Connection:
        """See `Connector`."""
        target, entered = self._target, False
        connection = await _opened(self.name, self._address, target.path, target.tls)
        try:
            async with asyncio.timeout(WITHIN):
                await self._enter(connection)
            entered = True
        except TimeoutError as error:
            raise _unavailable(self.name, f"does not answer within {WITHIN:g} s") from error
        except ConnectionError as error:
            raise _unavailable(self.name, f"does not let us in: {error}") from error
        finally:
            if not entered:
                connection.drop()
        return connection

    async def _enter(self, connection: Connection) -> None:
        """Log in, choose the database, and see that decisions can be made here."""
        target = self._target
        commands: list[tuple[str, ...]] = []
        if target.password is not None:
            user = (target.username,) if target.username else ()
            commands.append(("AUTH", *user, target.password))
        if target.db:
            commands.append(("SELECT", str(target.db)))
        commands += [("CLIENT", "SETNAME", NAME), ("PING",), ("ROLE",), ("INFO", "cluster")]
        replies = await connection.ask(*commands)
        for command, reply in zip(commands, replies, strict=True):
            if isinstance(reply, ResponseError):
                self._refused(command[0], reply)
        role, info = replies[-2:]
        if not self._any_role and isinstance(role, list) and role[0] != b"master":
            raise _unavailable(self.name, "is a replica, and counts need the primary")
        clustered = isinstance(info, bytes) and b"cluster_enabled:1" in info
        if clustered and target.kind != "cluster":
            raise _unavailable(self.name, "is part of a cluster: write redis+cluster://HOST:PORT")
        if not clustered and target.kind == "cluster" and isinstance(info, bytes):
            raise _unavailable(self.name, "is no part of a cluster: write redis://HOST:PORT")

    def _refused(self, command: str, error: ResponseError) -> None:
        """Raise for a reply that matters. What a careful ACL forbids is done without."""
        text = str(error)
        if command == "AUTH":
            raise _unavailable(self.name, f"refuses the user or password: {text}") from error
        if text.startswith("NOAUTH"):
            raise _unavailable(self.name, "wants a password: write redis://:PASSWORD@…") from error
        if command == "SELECT":
            raise _unavailable(self.name, f"has no database {self._target.db}: {text}") from error
        if text.startswith("LOADING") and command == "PING":
            raise _unavailable(self.name, "is still reading its data from disk") from error


class BySentinel:
    """Connects to the primary that Sentinels name, asked anew each time."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._sentinels = list(target.addresses)
        self.name = f"primary of {target.service}"

    async def __call__(self) -> Connection:
        """See `Connector`. The Sentinel that answered is asked first the next time."""
        complaints: list[str] = []
        tried: set[_Address] = set()
        for sentinel in tuple(self._sentinels):
            try:
                primary = await self._primary(sentinel)
                if primary in tried:
                    continue
                tried.add(primary)
                connection = await Direct(self._target, primary)()
            except StoreUnavailableError as error:
                complaints.append(str(error))
                continue
            self._sentinels.remove(sentinel)
            self._sentinels.insert(0, sentinel)
            return connection
        raise StoreUnavailableError("; ".join(complaints))

    async def _primary(self, sentinel: _Address) -> _Address:
        target, name = self._target, f"Sentinel {shown(sentinel)}"
        try:
            async with asyncio.timeout(SENTINEL_WITHIN):
                connection = await _opened(name, sentinel, "", target.tls)
                try:
                    return self._told(name, await self._ask(connection))
                finally:
                    connection.drop()
        except TimeoutError as error:
            raise _unavailable(name, f"does not answer within {SENTINEL_WITHIN:g} s") from error
        except ConnectionError as error:
            raise _unavailable(name, f"does not let us in: {error}") from error

    async def _ask(self, connection: Connection) -> Reply:
        target = self._target
        if target.sentinel_password is not None:
            user = (target.sentinel_username,) if target.sentinel_username else ()
            (reply,) = await connection.ask(("AUTH", *user, target.sentinel_password))
            if isinstance(reply, ResponseError):
                return reply
        return (await connection.ask(("SENTINEL", "GET-MASTER-ADDR-BY-NAME", target.service)))[0]

    def _told(self, name: str, reply: Reply) -> _Address:
        match reply:
            case [bytes(host), bytes(port)]:
                return host.decode(), int(port)
            case None:
                raise _unavailable(name, f"knows no service {self._target.service}")
            case _:
                raise _unavailable(name, f"does not tell where the primary is: {reply!r}")


def shown(address: _Address) -> str:
    """Return HOST:PORT."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _opened(
    name: str, address: _Address | None, path: str, tls: TlsSettings | None
) -> Connection:
    """Return a connection that has said nothing yet."""
    loop = asyncio.get_running_loop()
    try:
        if address is None:
            async with asyncio.timeout(WITHIN):
                return (await loop.create_unix_connection(Connection, path))[1]
        # Files are read again for each connection: certificates are replaced while we run.
        context = await loop.run_in_executor(None, tls.context) if tls else None
        async with asyncio.timeout(WITHIN):
            found = await loop.getaddrinfo(*address, type=socket.SOCK_STREAM)
        return await _first([str(info[4][0]) for info in found], address, context)
    except TimeoutError as error:
        spoken = " by TLS" if tls else ""
        raise _unavailable(name, f"cannot be reached{spoken} within {WITHIN:g} s") from error
    except ssl.SSLError as error:
        raise _unavailable(name, f"cannot be reached by TLS: {_told_by_tls(error)}") from error
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        if filename := getattr(error, "filename", None):
            reason = f"{reason}: {filename}"
        raise _unavailable(name, f"cannot be reached: {reason}") from error


async def _first(
    hosts: Sequence[str], address: _Address, context: ssl.SSLContext | None
) -> Connection:
    """Return a connection to the first host that takes one, each having its share of the time."""
    loop = asyncio.get_running_loop()
    for index, host in enumerate(hosts):
        try:
            async with asyncio.timeout(WITHIN / len(hosts)):
                _, connection = await loop.create_connection(
                    Connection,
                    host,
                    address[1],
                    ssl=context,
                    server_hostname=address[0] if context else None,
                )
            return connection
        except (OSError, TimeoutError):
            if index == len(hosts) - 1:
                raise
    msg = "the name has no address"
    raise OSError(msg)


def _told_by_tls(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if error.reason == "WRONG_VERSION_NUMBER":
        return "it does not speak TLS on this port"
    return str(error.args[-1]).partition(" (_ssl.c")[0]


def _unavailable(name: str, what: str) -> StoreUnavailableError:
    return StoreUnavailableError(f"Redis ({name}) {what}")
