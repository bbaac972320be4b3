"""Posts a webhook: one request on a connection of its own, to an address that was checked.

Names are resolved once for each post, and the connection goes to what was resolved and checked: a
name that leads elsewhere a moment later changes nothing. TLS and the Host header keep the name.
Redirects are not followed; of an answer only its first line is read. By hand, because of an HTTP
client no more is wanted than this, and each would resolve names by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Final

from ratelimitd.accounts.addresses import is_public
from ratelimitd.accounts.delivery import PostError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ratelimitd.accounts.addresses import Destination

Resolve = Callable[[str, int], Awaitable["Sequence[str]"]]
"""Returns the addresses of a name, or of an address itself."""

WITHIN: Final = 10.0
"""Seconds for one post, from the name to the answer's first line."""
MOST_LOOKUPS: Final = 64
LARGEST_LINE: Final = 4_096
"""Bytes of an answer that are looked at."""
_MOST_LINES = 64
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: .*)?\r?\n", re.DOTALL)
_INFORMATIONAL = range(100, 200)


class Names:
    """Asks the system's resolver, in threads of its own that nobody waits for.

    Customers choose the names, and servers of theirs may never answer: the loop's own threads,
    which others need and its end waits for, are not theirs to hold.
    """

    def __init__(self, most: int = MOST_LOOKUPS) -> None:
        """Have at most so many lookups under way, those included that nobody waits for."""
        self._free = threading.BoundedSemaphore(most)

    async def __call__(self, host: str, port: int) -> list[str]:
        """See `Resolve`. Raises `OSError` and `UnicodeError`."""
        with contextlib.suppress(ValueError):
            return [str(ipaddress.ip_address(host))]
        future: Future[list[str]] = Future()
        if not self._free.acquire(blocking=False):
            msg = "too many names are looked up"
            raise OSError(msg)
        work = partial(self._look_up, future, host, port)
        try:
            threading.Thread(target=work, name="ratelimitd-names", daemon=True).start()
        except RuntimeError as error:  # the machine has no more threads
            self._free.release()
            raise OSError(str(error)) from error
        return await asyncio.wrap_future(future)

    def _look_up(self, future: Future[list[str]], host: str, port: int) -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answer, error = [str(info[4][0]) for info in found], None
        except (OSError, UnicodeError) as failure:
            answer, error = [], failure
        finally:
            self._free.release()
        if future.set_running_or_notify_cancel():
            future.set_exception(error) if error else future.set_result(answer)


class Poster:
    """See the module. A `delivery.Post`."""

    def __init__(
        self,
        *,
        allow_private: bool = False,
        resolve: Resolve | None = None,
        tls: ssl.SSLContext | None = None,
        within: float = WITHIN,
    ) -> None:
        """Post to public addresses, with `allow_private` to others too."""
        self._allow_private = allow_private
        self._resolve = resolve or Names()
        self._tls = tls or ssl.create_default_context()
        self._within = within

    async def __call__(self, to: Destination, headers: Mapping[str, str], body: bytes) -> int:
        """See `delivery.Post`."""
        try:
            async with asyncio.timeout(self._within):
                return await self._post(to, headers, body)
        except TimeoutError as error:
            raise PostError("timeout") from error
        except ssl.SSLError as error:
            raise PostError("tls") from error
        except (OSError, UnicodeError, EOFError, ValueError) as error:
            raise PostError("unreachable") from error

    async def _post(self, to: Destination, headers: Mapping[str, str], body: bytes) -> int:
        addresses = await self._resolve(to.host, to.port)
        # One inner address among outer ones is no mistake of an honest name.
        if not addresses or not (self._allow_private or all(map(is_public, addresses))):
            raise PostError("refused_address")
        reader, writer = await self._connected(to, addresses)
        try:
            writer.write(_request(to, headers, body))
            return await _status(reader)
        finally:
            writer.transport.abort()

    async def _connected(
        self, to: Destination, addresses: Sequence[str]
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the first of the checked addresses that takes a connection."""
        tls = self._tls if to.is_tls else None
        name = to.host if to.is_tls else None
        for index, address in enumerate(addresses):
            try:
                async with asyncio.timeout(self._within / len(addresses)):
                    return await asyncio.open_connection(
                        address, to.port, ssl=tls, server_hostname=name, limit=LARGEST_LINE
                    )
            except (OSError, TimeoutError):
                if index == len(addresses) - 1:
                    raise
        raise PostError("unreachable")


def _request(to: Destination, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = [
        f"POST {to.target} HTTP/1.1",
        f"host: {to.authority}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        "user-agent: ratelimitd",
        "connection: close",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body


async def _status(reader: asyncio.StreamReader) -> int:
    """Return the status of the final answer; informational ones before it are passed over."""
    for _ in range(_MOST_LINES):
        found = _STATUS.fullmatch(await reader.readline())
        if found is None:
            raise ValueError
        status = int(found[1])
        if status not in _INFORMATIONAL:
            return status
        for _ in range(_MOST_LINES):
            if not (await reader.readline()).strip():
                break
    raise ValueError
